// The connection to the server: opens it again when it breaks, and takes its messages apart.

const WAITS_MS = [300, 1000, 2000, 4000];

export class Link {
  /** handlers: image(head, blobs), message(message), up(), down() */
  constructor(handlers) {
    this.handlers = handlers;
    this.attempts = 0;
    this.view = { images: true, before: false, results: false };
    this.open();
  }

  open() {
    const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
    this.socket = new WebSocket(`${scheme}://${location.host}/ws`);
    this.socket.binaryType = 'arraybuffer';
    this.socket.onopen = () => {
      this.attempts = 0;
      this.look({});
      this.handlers.up();
    };
    this.socket.onmessage = event => this.take(event.data);
    this.socket.onclose = () => {
      this.handlers.down();
      const wait = WAITS_MS[Math.min(this.attempts++, WAITS_MS.length - 1)];
      setTimeout(() => this.open(), wait);
    };
  }

  get isOpen() { return this.socket.readyState === WebSocket.OPEN; }

  take(data) {
    if (typeof data === 'string') return this.handlers.message(JSON.parse(data));
    const length = new DataView(data).getUint32(0);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    let at = 4 + length;
    const blobs = head.lengths.map(size => {
      const blob = new Blob([new Uint8Array(data, at, size)], { type: 'image/jpeg' });
      at += size;
      return blob;
    });
    return this.handlers.image(head, blobs);
  }

  say(message) { if (this.isOpen) this.socket.send(JSON.stringify(message)); }
  send(bytes) { if (this.isOpen) this.socket.send(bytes); }
  look(change) { Object.assign(this.view, change); this.say({ type: 'view', ...this.view }); }
}

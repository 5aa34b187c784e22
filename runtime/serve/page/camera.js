// The visitor's own camera: frames go to the server as JPEG, at most two of them not yet acknowledged.

const SIZE = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: 'user' };
const QUALITY = 0.8;
const MOST_WAITING = 2;

export class Camera {
  constructor(link) {
    this.link = link;
    this.video = document.getElementById('video');
    this.canvas = document.createElement('canvas');
    this.stream = null;
    this.waiting = 0;
    this.encoding = false;
  }

  get on() { return this.stream !== null; }

  /** Why this page gets no camera; empty if it may ask for one. */
  static problem() {
    if (!isSecureContext) {
      return 'Browsers hand out a camera only to pages with a certificate: start the server with --tls-cert and --tls-key.';
    }
    return navigator.mediaDevices ? '' : 'This browser has no camera.';
  }

  async start() {
    this.stream = await navigator.mediaDevices.getUserMedia({ video: SIZE, audio: false });
    this.video.srcObject = this.stream;
    await this.video.play();
    this.waiting = 0;
    this.next();
  }

  stop() {
    if (this.stream) for (const track of this.stream.getTracks()) track.stop();
    this.stream = null;
    this.video.srcObject = null;
  }

  taken() { this.waiting = Math.max(0, this.waiting - 1); }

  next() {
    if (!this.on) return;
    const again = () => { this.capture(); this.next(); };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(again);
    else requestAnimationFrame(again);
  }

  capture() {
    if (!this.on || this.encoding || this.waiting >= MOST_WAITING || !this.link.isOpen || !this.video.videoWidth) return;
    const stamp = performance.now();
    this.canvas.width = this.video.videoWidth;
    this.canvas.height = this.video.videoHeight;
    this.canvas.getContext('2d', { alpha: false }).drawImage(this.video, 0, 0);
    this.encoding = true;
    this.canvas.toBlob(async blob => {
      const content = new Uint8Array(8 + blob.size);
      new DataView(content.buffer).setFloat64(0, stamp);
      content.set(new Uint8Array(await blob.arrayBuffer()), 8);
      this.encoding = false;
      if (!this.on) return;
      this.waiting += 1;
      this.link.send(content);
    }, 'image/jpeg', QUALITY);
  }
}

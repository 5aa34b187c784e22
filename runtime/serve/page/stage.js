// The large image: draws what comes, and the frame before the network left of the slider.

const byId = id => document.getElementById(id);

export class Stage {
  constructor() {
    this.canvas = byId('image');
    this.context = this.canvas.getContext('2d', { alpha: false });
    this.frame = byId('frame');
    this.slide = byId('slide');
    this.comparing = false;
    this.share = 0.5;
    this.last = null;
    this.slide.addEventListener('input', () => {
      this.share = this.slide.value / 1000;
      this.paint();
    });
  }

  /** Decode and draw; resolves when the image is on the canvas. */
  async show(blobs) {
    const images = await Promise.all(blobs.map(blob => createImageBitmap(blob)));
    if (this.last) for (const image of this.last) image.close();
    this.last = images;
    this.paint();
  }

  paint() {
    if (!this.last) return;
    const [after, before] = this.last;
    const { canvas, context } = this;
    if (canvas.width !== after.width || canvas.height !== after.height) {
      canvas.width = after.width;
      canvas.height = after.height;
      this.frame.style.setProperty('--ratio', (after.width / after.height).toFixed(4));
    }
    context.drawImage(after, 0, 0);
    if (this.comparing && before) {
      const edge = Math.round(this.share * canvas.width);
      if (edge > 0) context.drawImage(before, 0, 0, edge, before.height, 0, 0, edge, canvas.height);
    }
    this.placeSplit();
  }

  /** The canvas may be narrower than its box; the line belongs to the image. */
  placeSplit() {
    const box = this.frame.getBoundingClientRect();
    const scale = Math.min(this.canvas.clientWidth / this.canvas.width, this.canvas.clientHeight / this.canvas.height);
    const width = this.canvas.width * scale;
    const left = (box.width - width) / 2;
    byId('split').style.left = `${left + this.share * width}px`;
    this.slide.style.left = `${left}px`;
    this.slide.style.width = `${width}px`;
  }

  compare(on) {
    this.comparing = on;
    for (const id of ['split', 'slide', 'tag-before']) byId(id).hidden = !on;
    byId('compare').setAttribute('aria-pressed', String(on));
    this.paint();
  }

  notice(title, text) {
    byId('notice').hidden = !title;
    byId('notice-title').textContent = title;
    byId('notice-text').textContent = text;
    this.frame.classList.toggle('lost', Boolean(title));
  }

  toast(text, bad = false) {
    const toast = byId('toast');
    toast.hidden = true;
    toast.textContent = text;
    toast.classList.toggle('bad', bad);
    requestAnimationFrame(() => { toast.hidden = false; });
    clearTimeout(this.toasting);
    this.toasting = setTimeout(() => { toast.hidden = true; }, bad ? 6000 : 3500);
  }

  save(name) {
    this.canvas.toBlob(blob => {
      const link = document.createElement('a');
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    }, 'image/png');
  }
}

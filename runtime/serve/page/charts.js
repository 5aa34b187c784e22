// Small charts of the last two minutes, drawn on canvases in the page's own colors.

const LENGTH = 240;

export class Chart {
  /** least: the smallest top of the scale; format: of the large figure */
  constructor(id, { least, format }) {
    this.card = document.getElementById(id);
    this.canvas = this.card.querySelector('canvas');
    this.figure = this.card.querySelector('b');
    this.format = format;
    this.least = least;
    this.values = [];
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  add(value) {
    this.values.push(Number.isFinite(value) ? value : null);
    if (this.values.length > LENGTH) this.values.shift();
    this.figure.textContent = Number.isFinite(value) ? this.format(value) : '–';
    this.paint();
  }

  fill(values) {
    this.values = values.slice(-LENGTH).map(value => (Number.isFinite(value) ? value : null));
    this.paint();
  }

  paint() {
    const { canvas, values } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const context = canvas.getContext('2d');
    context.scale(ratio, ratio);
    const color = getComputedStyle(document.documentElement).getPropertyValue('--accent').trim();
    const top = Math.max(this.least, ...values.map(value => value ?? 0)) * 1.15;
    const step = width / (LENGTH - 1);
    const begin = width - (values.length - 1) * step;
    const point = (value, at) => [begin + at * step, height - 2 - (value / top) * (height - 8)];
    for (const run of this.runs()) {
      const points = run.map(([value, at]) => point(value, at));
      if (points.length < 2) continue;
      context.beginPath();
      points.forEach(([x, y], at) => (at ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.strokeStyle = color;
      context.lineWidth = 1.75;
      context.lineJoin = 'round';
      context.stroke();
      context.lineTo(points.at(-1)[0], height);
      context.lineTo(points[0][0], height);
      const wash = context.createLinearGradient(0, 0, 0, height);
      wash.addColorStop(0, `${color}55`);
      wash.addColorStop(1, `${color}00`);
      context.fillStyle = wash;
      context.fill();
    }
  }

  /** Stretches of known values: where nothing was measured, nothing is drawn. */
  runs() {
    const found = [];
    let open = null;
    this.values.forEach((value, at) => {
      if (value === null) { open = null; return; }
      if (!open) found.push(open = []);
      open.push([value, at]);
    });
    return found;
  }
}

// Paper to draw on. What counts are the points of the strokes; the pixels are only what the hand sees.

const PEN = 6;  // in units of the paper
const RUBBER = 18;

export class Drawing {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;  // called when a stroke has ended, or was taken back
    this.pen = canvas.getContext('2d');
    this.erasing = false;
    this.strokes = [];
    this.past = [];  // the strokes before each change
    this.future = [];
    this.open = null;  // the points of the stroke that is being drawn
    for (const [name, act] of [['pointerdown', this.begin], ['pointermove', this.go], ['pointerup', this.end],
      ['pointercancel', this.end]]) {
      canvas.addEventListener(name, act.bind(this));
    }
    this.resize();
    addEventListener('resize', () => this.resize());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.redraw());
  }

  // Narrow screens get a higher paper; its units do not depend on the screen, but its sharpness does.
  resize() {
    const narrow = innerWidth < 600;
    const [width, height] = [800, narrow ? 600 : 400];
    const sharp = Math.max(1, Math.min(2, devicePixelRatio * (this.canvas.clientWidth || 800) / 800));
    [this.canvas.width, this.canvas.height] = [width * sharp, height * sharp];
    this.pen.setTransform(sharp, 0, 0, sharp, 0, 0);
    this.redraw();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const unit = 800 / box.width;
    return [(event.clientX - box.left) * unit, (event.clientY - box.top) * unit]
      .map((value) => Math.round(value * 10) / 10);
  }

  begin(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.open = [this.place(event)];
    this.before = this.strokes;
    this.continue();
  }

  go(event) {
    if (!this.open) return;
    const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    for (const one of passed.length ? passed : [event]) this.open.push(this.place(one));
    this.continue();
  }

  continue() {
    if (this.erasing) {
      const rubber = this.open.slice(-8);
      this.strokes = this.strokes.flatMap((stroke) => without(stroke, rubber));
      this.redraw();
    } else {
      this.line(this.open);
    }
  }

  end() {
    if (!this.open) return;
    if (!this.erasing) this.strokes = [...this.strokes, this.open];
    this.open = null;
    this.redraw();  // piece by piece its edges are not as smooth
    const same = this.strokes.length === this.before.length
      && this.strokes.every((stroke, place) => stroke === this.before[place]);
    if (same) return;
    this.past.push(this.before);
    this.future = [];
    this.changed();
  }

  line(points) {
    const { pen } = this;
    pen.lineWidth = PEN;
    pen.lineCap = pen.lineJoin = 'round';
    pen.strokeStyle = getComputedStyle(this.canvas).color;
    pen.beginPath();
    pen.moveTo(...points[0]);
    points.forEach((point) => pen.lineTo(...point));
    pen.stroke();
  }

  redraw() {
    this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.strokes.forEach((stroke) => this.line(stroke));
  }

  move(from, to) {
    if (!from.length) return;
    to.push(this.strokes);
    this.strokes = from.pop();
    this.redraw();
    this.changed();
  }

  undo() { this.move(this.past, this.future); }

  redo() { this.move(this.future, this.past); }

  clear() {
    if (!this.strokes.length) return;
    this.past.push(this.strokes);
    this.strokes = [];
    this.redraw();
    this.changed();
  }

  // The drawing as a small picture for a list, black on nothing.
  picture() {
    const points = this.strokes.flat();
    const [xs, ys] = [0, 1].map((axis) => points.map((point) => point[axis]));
    const [left, top] = [Math.min(...xs) - 12, Math.min(...ys) - 12];
    const [width, height] = [Math.max(...xs) - left + 12, Math.max(...ys) - top + 12];
    const small = document.createElement('canvas');
    const scale = Math.min(240 / width, 120 / height);
    [small.width, small.height] = [Math.ceil(width * scale), Math.ceil(height * scale)];
    const pen = small.getContext('2d');
    pen.scale(scale, scale);
    pen.translate(-left, -top);
    pen.lineWidth = Math.max(PEN, 2 / scale);
    pen.lineCap = pen.lineJoin = 'round';
    for (const stroke of this.strokes) {
      pen.beginPath();
      pen.moveTo(...stroke[0]);
      stroke.forEach((point) => pen.lineTo(...point));
      pen.stroke();
    }
    return small.toDataURL();
  }
}

// What is left of a stroke: its parts between points that the rubber touches.
function without(stroke, rubber) {
  const near = ([x, y]) => rubber.some(([a, b]) => Math.hypot(x - a, y - b) < RUBBER);
  const parts = [[]];
  for (const point of stroke) {
    if (near(point)) parts.push([]);
    else parts[parts.length - 1].push(point);
  }
  const left = parts.filter((part) => part.length);
  return left.length === 1 && left[0].length === stroke.length ? [stroke] : left;
}

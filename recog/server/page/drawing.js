// Paper to draw on; strokes are kept, so that the last can be undone.

const MARGIN = 24;  // white around the ink, in pixels of the paper

export class Drawing {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext('2d', { willReadFrequently: true });
    this.width = 8;
    this.erasing = false;
    this.strokes = [];
    this.open = null;  // the stroke that is being drawn
    for (const [name, act] of [['pointerdown', this.begin], ['pointermove', this.go], ['pointerup', this.end],
      ['pointercancel', this.end]]) {
      canvas.addEventListener(name, act.bind(this));
    }
    this.resize();
    addEventListener('resize', () => this.strokes.length || this.resize());
  }

  // Pixels do not depend on the screen; narrow screens get a higher paper.
  resize() {
    this.canvas.width = 800;
    this.canvas.height = innerWidth < 600 ? 600 : 400;
    this.redraw();
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * this.canvas.width / box.width, (event.clientY - box.top) * this.canvas.height / box.height];
  }

  begin(event) {
    if (event.button) return;
    event.preventDefault();
    this.canvas.setPointerCapture(event.pointerId);
    this.open = { width: this.erasing ? 4 * this.width : this.width, erasing: this.erasing, points: [this.place(event)] };
    this.strokes.push(this.open);
    this.draw(this.open);
  }

  go(event) {
    if (!this.open) return;
    const passed = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
    const before = this.open.points.length;
    for (const one of passed.length ? passed : [event]) this.open.points.push(this.place(one));
    this.draw(this.open, before);
  }

  end() {
    this.open = null;
  }

  // A stroke from one of its points on, piece by piece, so that it looks the same when it is drawn again.
  draw({ width, erasing, points }, from = 0) {
    const { pen } = this;
    pen.lineWidth = width;
    pen.lineCap = 'round';
    pen.strokeStyle = erasing ? 'white' : 'black';
    for (let index = from; index < points.length; index++) {
      pen.beginPath();
      pen.moveTo(...points[Math.max(index - 1, 0)]);
      pen.lineTo(...points[index]);
      pen.stroke();
    }
  }

  redraw() {
    this.pen.fillStyle = 'white';
    this.pen.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.strokes.forEach((stroke) => this.draw(stroke));
  }

  undo() {
    this.strokes.pop();
    this.redraw();
  }

  clear() {
    this.strokes = [];
    this.resize();
  }

  // The bounding box of the ink: left, top, right, bottom; null if there is none.
  ink() {
    const { width, height } = this.canvas;
    const { data } = this.pen.getImageData(0, 0, width, height);
    let [left, top, right, bottom] = [width, height, -1, -1];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (data[4 * (y * width + x)] < 128) {
          left = Math.min(left, x); right = Math.max(right, x);
          top = Math.min(top, y); bottom = y;
        }
      }
    }
    return right < 0 ? null : [left, top, right, bottom];
  }

  // A PNG of the ink with some white around it; null if there is none.
  async image() {
    const box = this.ink();
    if (!box) return null;
    const [left, top, right, bottom] = box;
    const cut = document.createElement('canvas');
    cut.width = right - left + 1 + 2 * MARGIN;
    cut.height = bottom - top + 1 + 2 * MARGIN;
    const pen = cut.getContext('2d');
    pen.fillStyle = 'white';
    pen.fillRect(0, 0, cut.width, cut.height);
    pen.drawImage(this.canvas, left, top, right - left + 1, bottom - top + 1, MARGIN, MARGIN, right - left + 1, bottom - top + 1);
    return new Promise((resolve) => cut.toBlob(resolve, 'image/png'));
  }
}

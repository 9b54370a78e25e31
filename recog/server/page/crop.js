// A box on the preview that says which part of the image is read; by mouse, finger or keyboard.

const LEAST = 0.03;  // of a side of the image
const STEP = 0.02;

export class Crop {
  constructor(stage, image, box, changed) {
    Object.assign(this, { stage, image, box, changed });  // `changed` is called when the box is as wanted
    this.on = false;
    this.part = null;  // left, top, right and bottom as shares of the image
    this.drag = null;
    stage.addEventListener('pointerdown', (event) => this.begin(event));
    stage.addEventListener('pointermove', (event) => this.go(event));
    for (const name of ['pointerup', 'pointercancel']) stage.addEventListener(name, () => this.end());
    box.addEventListener('keydown', (event) => this.key(event));
  }

  turn(on, part = null) {
    this.on = on;
    this.part = on ? part || [0.1, 0.1, 0.9, 0.9] : null;
    this.stage.classList.toggle('cropping', on);
    this.box.hidden = !on;
    this.lay();
  }

  lay() {
    if (this.part) lay(this.box, this.image, this.part);
  }

  place(event) {
    const box = this.image.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  begin(event) {
    if (!this.on || event.button) return;
    event.preventDefault();
    this.stage.setPointerCapture(event.pointerId);
    const [x, y] = this.place(event);
    const [left, top, right, bottom] = this.part;
    const reach = 16 / this.image.clientWidth;
    const atCorner = Math.abs(x - right) < reach && Math.abs(y - bottom) < 16 / this.image.clientHeight;
    const inside = x > left && x < right && y > top && y < bottom;
    this.drag = { from: [x, y], part: this.part, kind: atCorner ? 'size' : inside ? 'move' : 'new' };
    this.box.focus({ preventScroll: true });
  }

  go(event) {
    if (!this.drag) return;
    const [x, y] = this.place(event);
    const { from, part, kind } = this.drag;
    if (kind === 'new') {
      this.set([Math.min(x, from[0]), Math.min(y, from[1]), Math.max(x, from[0]), Math.max(y, from[1])]);
    } else {
      this.shift(part, x - from[0], y - from[1], kind === 'size');
    }
  }

  end() {
    if (!this.drag) return;
    this.drag = null;
    this.changed();
  }

  // The box moved, or its right lower corner alone.
  shift([left, top, right, bottom], x, y, size) {
    if (size) {
      this.set([left, top, Math.max(right + x, left + LEAST), Math.max(bottom + y, top + LEAST)]);
    } else {
      const across = Math.max(-left, Math.min(x, 1 - right));
      const down = Math.max(-top, Math.min(y, 1 - bottom));
      this.set([left + across, top + down, right + across, bottom + down]);
    }
  }

  set(part) {
    const [left, top, right, bottom] = part.map((value) => Math.max(0, Math.min(1, value)));
    if (right - left < LEAST || bottom - top < LEAST) return;
    this.part = [left, top, right, bottom];
    this.lay();
  }

  key(event) {
    const ways = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };
    const way = ways[event.key];
    if (!way && event.key !== 'Escape') return;
    event.preventDefault();
    if (way) this.shift(this.part, ...way, event.shiftKey);
    else this.part = [0, 0, 1, 1];
    this.lay();
    clearTimeout(this.soon);
    this.soon = setTimeout(this.changed, 400);
  }
}

// Puts a box over a part of an image: left, top, right and bottom as shares of the image.
export function lay(box, image, [left, top, right, bottom]) {
  const { offsetLeft, offsetTop, offsetWidth, offsetHeight } = image;
  Object.assign(box.style, {
    left: `${offsetLeft + left * offsetWidth}px`, top: `${offsetTop + top * offsetHeight}px`,
    width: `${(right - left) * offsetWidth}px`, height: `${(bottom - top) * offsetHeight}px`,
  });
}

// The part of an image file as a PNG.
export async function cut(file, [left, top, right, bottom]) {
  const image = await createImageBitmap(file, { imageOrientation: 'from-image' });
  const [width, height] = [(right - left) * image.width, (bottom - top) * image.height]
    .map((side) => Math.max(1, Math.round(side)));
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext('2d').drawImage(image, -Math.round(left * image.width), -Math.round(top * image.height));
  return new Promise((resolve) => canvas.toBlob(resolve, 'image/png'));
}

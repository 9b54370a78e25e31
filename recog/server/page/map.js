// Draws the image as the model saw it, and over it where a character was read from.

const SHARE = 0.75;  // how strong the strongest place is

export class Map {
  constructor(canvas) {
    this.canvas = canvas;
    this.found = null;
    this.chosen = -1;
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.draw());
    addEventListener('resize', () => this.draw());
  }

  // `ink` says whether only the ink counts, light or dark: it is drawn in the colour of the page's text.
  take(found, ink) {
    Object.assign(this, { found, ink, chosen: -1, image: new Image() });
    this.image.onload = () => this.draw();
    this.image.src = found.image;
  }

  point(number) {
    this.chosen = number;
    this.draw();
  }

  draw() {
    if (!this.found || !this.image.naturalWidth) return;
    const { canvas, image } = this;
    const wide = Math.round(canvas.clientWidth * devicePixelRatio) || image.naturalWidth;
    const most = 300 * devicePixelRatio;
    const high = Math.min(Math.round(wide * image.naturalHeight / image.naturalWidth), most);
    const width = Math.round(high * image.naturalWidth / image.naturalHeight);
    [canvas.width, canvas.height] = [wide, high];
    const pen = canvas.getContext('2d');
    pen.drawImage(this.ink ? this.inked() : image, 0, 0, width, high);
    if (this.chosen >= 0) {
      pen.globalAlpha = SHARE;
      pen.drawImage(this.weights(), 0, 0, width, high);
    }
  }

  // The ink alone, in the colour of the text.
  inked() {
    const { naturalWidth: width, naturalHeight: height } = this.image;
    const [canvas, pen] = sheet(width, height);
    pen.drawImage(this.image, 0, 0);
    const pixels = pen.getImageData(0, 0, width, height);
    const colour = rgb(getComputedStyle(document.body).color);
    for (let at = 0; at < pixels.data.length; at += 4) {
      const level = pixels.data[at];
      pixels.data.set([...colour, this.ink === 'light' ? level : 255 - level], at);
    }
    pen.putImageData(pixels, 0, 0);
    return canvas;
  }

  weights() {
    const { weights } = this.found.tokens[this.chosen];
    const [canvas, pen] = sheet(weights[0].length, weights.length);
    const pixels = pen.createImageData(canvas.width, canvas.height);
    const colour = rgb(getComputedStyle(document.querySelector('.main')).backgroundColor);
    weights.flat().forEach((weight, place) => pixels.data.set([...colour, weight], 4 * place));
    pen.putImageData(pixels, 0, 0);
    return canvas;
  }
}

function sheet(width, height) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [width, height];
  return [canvas, canvas.getContext('2d')];
}

const rgb = (colour) => colour.match(/\d+/g).slice(0, 3).map(Number);

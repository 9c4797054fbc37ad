// The square that the model sees, drawn over a picture; it can be moved and resized by pointer and keyboard.

import { shape } from "/page/dom.js";

export class CropView {
  constructor(crop, onChange) {
    this.crop = crop;
    this.onChange = onChange;
    this.svg = shape("svg", { viewBox: `0 0 ${crop.width} ${crop.height}` });
    this.shade = shape("path", { class: "shade" });
    this.square = shape("rect", onChange
      ? { class: "square", tabindex: 0, role: "application", "aria-label": "Crop: arrow keys move it, plus and minus resize it" }
      : { class: "square" });
    this.faces = crop.faces.map((face) => shape("rect", {
      class: "face", x: face.left, y: face.top, width: face.right - face.left, height: face.bottom - face.top,
    }));
    this.svg.append(this.shade, ...(crop.faces.length > 1 ? this.faces : []));
    this.reset(crop.square);
    if (this.place) this.svg.append(this.square);
    if (onChange) this.#listen();
  }

  reset(square) {
    this.place = square && { left: square.left, top: square.top, side: square.right - square.left };
    this.draw();
  }

  move(left, top, side) {
    const { width, height } = this.crop;
    side = Math.min(Math.max(side, 24), 2 * Math.max(width, height));
    left = Math.min(Math.max(left, -side / 2), width - side / 2);
    top = Math.min(Math.max(top, -side / 2), height - side / 2);
    this.place = { left: Math.round(left), top: Math.round(top), side: Math.round(side) };
    this.draw();
    this.onChange(this.place);
  }

  resize(side) {
    const { left, top, side: now } = this.place;
    this.move(left + (now - side) / 2, top + (now - side) / 2, side);
  }

  draw() {
    if (!this.place) return;
    const { left, top, side } = this.place;
    const { width, height } = this.crop;
    for (const [name, value] of Object.entries({ x: left, y: top, width: side, height: side })) {
      this.square.setAttribute(name, value);
    }
    this.shade.setAttribute("d", `M0 0H${width}V${height}H0Z M${left} ${top}h${side}v${side}h${-side}Z`);
  }

  #listen() {
    let from = null;
    const at = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
    this.square.addEventListener("pointerdown", (event) => {
      this.square.setPointerCapture(event.pointerId);
      const point = at(event);
      from = { x: point.x - this.place.left, y: point.y - this.place.top };
    });
    this.square.addEventListener("pointermove", (event) => {
      if (!from) return;
      const point = at(event);
      this.move(point.x - from.x, point.y - from.y, this.place.side);
    });
    this.square.addEventListener("pointerup", () => { from = null; });
    this.square.addEventListener("pointercancel", () => { from = null; });
    this.square.addEventListener("keydown", (event) => {
      const { left, top, side } = this.place;
      const step = Math.max(1, Math.round(side / (event.shiftKey ? 100 : 25)));
      const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      if (moves[event.key]) this.move(left + moves[event.key][0], top + moves[event.key][1], side);
      else if (event.key === "+" || event.key === "=") this.resize(side + 2 * step);
      else if (event.key === "-") this.resize(side - 2 * step);
      else return;
      event.preventDefault();
    });
  }
}

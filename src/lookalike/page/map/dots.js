/** All rows as dots: by WebGL, or straight into a canvas's pixels where there is no WebGL. */

const VERTEX_SHADER = `#version 300 es
in vec2 position; in vec4 color;
uniform vec2 middle, center, screen; uniform float scale, size;
out vec4 tint;
void main() {
  vec2 at = ((position - center) * scale + middle) / screen * 2.0 - 1.0;
  gl_Position = vec4(at.x, -at.y, 0.0, 1.0);
  gl_PointSize = color.a == 0.0 ? 0.0 : size;
  tint = color;
}`;
const FRAGMENT_SHADER = `#version 300 es
precision highp float;
in vec4 tint; uniform float size; out vec4 shade;
void main() {
  float cover = clamp((0.5 - length(gl_PointCoord - 0.5)) * size, 0.0, 1.0) * tint.a;
  if (cover == 0.0) discard;
  shade = vec4(tint.rgb * cover, cover);
}`;

// CSS pixels: the more rows, the smaller; growing a little with the zoom.
function dotRadius(count, zoom) {
  const atOverview = Math.max(1.3, 60 / Math.sqrt(count));
  return Math.min(7, atOverview * Math.sqrt(Math.min(zoom, 6)));
}

/**
 * Make the drawer of dots for a canvas, with two methods: `paint(colors, order)` takes four bytes a
 * row (red, green, blue, alpha) and the rows in drawing order; `draw(camera, ratio)` draws a frame.
 */
export function makeDots(canvas, positions) {
  const settings = { antialias: false, powerPreference: "high-performance" };
  const gl = canvas.getContext("webgl2", settings);
  return gl ? new WebGLDots(gl, canvas, positions) : new PixelDots(canvas, positions);
}

class WebGLDots {
  constructor(gl, canvas, positions) {
    Object.assign(this, { gl, canvas, positions });
    this.kind = "webgl";
    this.painted = null;
    this.prepare();
    canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
    canvas.addEventListener("webglcontextrestored", () => {
      this.prepare();
      if (this.painted) this.paint(...this.painted);
    });
  }

  prepare() {
    const { gl } = this;
    this.program = gl.createProgram();
    gl.attachShader(this.program, this.compile(gl.VERTEX_SHADER, VERTEX_SHADER));
    gl.attachShader(this.program, this.compile(gl.FRAGMENT_SHADER, FRAGMENT_SHADER));
    gl.linkProgram(this.program);
    gl.useProgram(this.program);
    this.colorBuffer = gl.createBuffer();
    this.orderBuffer = gl.createBuffer();
    this.bindAttribute("position", gl.createBuffer(), 2, gl.FLOAT, false);
    gl.bufferData(gl.ARRAY_BUFFER, this.positions, gl.STATIC_DRAW);
    this.bindAttribute("color", this.colorBuffer, 4, gl.UNSIGNED_BYTE, true);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  compile(kind, source) {
    const shader = this.gl.createShader(kind);
    this.gl.shaderSource(shader, source);
    this.gl.compileShader(shader);
    return shader;
  }

  bindAttribute(name, buffer, size, type, normalized) {
    const { gl } = this;
    const location = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(location);
    gl.vertexAttribPointer(location, size, type, normalized, 0, 0);
  }

  paint(colors, order) {
    const { gl } = this;
    this.painted = [colors, order];
    gl.bindBuffer(gl.ARRAY_BUFFER, this.colorBuffer);
    gl.bufferData(gl.ARRAY_BUFFER, colors, gl.DYNAMIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.orderBuffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
  }

  draw(camera, ratio) {
    const { gl, canvas } = this;
    const uniform = (name) => gl.getUniformLocation(this.program, name);
    const count = this.positions.length / 2;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2f(uniform("middle"), camera.middleX, camera.middleY);
    gl.uniform2f(uniform("center"), camera.x, camera.y);
    gl.uniform2f(uniform("screen"), camera.width, camera.height);
    gl.uniform1f(uniform("scale"), camera.scale);
    gl.uniform1f(uniform("size"), 2 * dotRadius(count, camera.zoom) * ratio + 1);
    gl.drawElements(gl.POINTS, count, gl.UNSIGNED_INT, 0);
  }
}

class PixelDots {
  constructor(canvas, positions) {
    Object.assign(this, { canvas, positions });
    this.kind = "pixels";
    this.context = canvas.getContext("2d");
  }

  paint(colors, order) {
    Object.assign(this, { colors, order });
  }

  draw(camera, ratio) {
    const { canvas, positions } = this;
    const image = this.context.createImageData(canvas.width, canvas.height);
    const radius = dotRadius(positions.length / 2, camera.zoom) * ratio;
    const stamp = dotStamp(radius);
    for (const row of this.order) {
      if (this.colors[4 * row + 3] === 0) continue;
      const x = camera.screenX(positions[2 * row]) * ratio;
      const y = camera.screenY(positions[2 * row + 1]) * ratio;
      const left = Math.round(x - stamp.side / 2);
      const top = Math.round(y - stamp.side / 2);
      blend(image, stamp, left, top, this.colors.subarray(4 * row, 4 * row + 4));
    }
    this.context.putImageData(image, 0, 0);
  }
}

// How much of each pixel a dot covers, 0 to 256.
function dotStamp(radius) {
  const side = 2 * Math.ceil(radius) + 1;
  const middle = (side - 1) / 2;
  const cover = new Uint16Array(side * side);
  for (let at = 0; at < cover.length; at++) {
    const distance = Math.hypot((at % side) - middle, Math.floor(at / side) - middle);
    cover[at] = 256 * Math.min(1, Math.max(0, radius + 0.5 - distance));
  }
  return { side, cover };
}

// Draw a dot over the pixels that are there ("source over", as a canvas does).
function blend(image, { side, cover }, left, top, [red, green, blue, alpha]) {
  const { width, height, data } = image;
  if (left + side <= 0 || top + side <= 0 || left >= width || top >= height) return;
  for (let y = Math.max(0, -top); y < side && top + y < height; y++) {
    for (let x = Math.max(0, -left); x < side && left + x < width; x++) {
      const share = (cover[y * side + x] * alpha) / 65536;
      if (share === 0) continue;
      const at = 4 * ((top + y) * width + left + x);
      const below = (data[at + 3] / 255) * (1 - share);
      const whole = share + below;
      data[at] = (red * share + data[at] * below) / whole;
      data[at + 1] = (green * share + data[at + 1] * below) / whole;
      data[at + 2] = (blue * share + data[at + 2] * below) / whole;
      data[at + 3] = 255 * whole;
    }
  }
}

// The points as dots: by WebGL, or straight into a canvas's pixels where there is none.

const VERTEX = `#version 300 es
in vec2 place; in vec4 colour;
uniform vec2 middle, centre, screen; uniform float scale, size;
out vec4 tint;
void main() {
  vec2 at = ((place - centre) * scale + middle) / screen * 2.0 - 1.0;
  gl_Position = vec4(at.x, -at.y, 0.0, 1.0);
  gl_PointSize = colour.a == 0.0 ? 0.0 : size;
  tint = colour;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec4 tint; uniform float size; out vec4 shade;
void main() {
  float cover = clamp((0.5 - length(gl_PointCoord - 0.5)) * size, 0.0, 1.0) * tint.a;
  if (cover == 0.0) discard;
  shade = vec4(tint.rgb * cover, cover);
}`;

const radiusOf = (count, zoom) => Math.min(7, Math.max(1.3, 60 / Math.sqrt(count)) * Math.sqrt(Math.min(zoom, 6)));

/** Draw dots on a canvas: `colours` are four bytes a point, `order` says which is drawn before which. */
export function makeDots(canvas, points) {
  const gl = canvas.getContext("webgl2", { antialias: false, powerPreference: "high-performance" });
  return gl ? withWebGL(gl, canvas, points) : withPixels(canvas, points);
}

function withWebGL(gl, canvas, points) {
  let program, places, paints, orders, kept = null;
  const compile = (kind, source) => {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    return shader;
  };
  const attribute = (name, buffer, size, type, normal) => {
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, type, normal, 0, 0);
  };
  function prepare() {
    program = gl.createProgram();
    gl.attachShader(program, compile(gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(program, compile(gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(program);
    gl.useProgram(program);
    [places, paints, orders] = [gl.createBuffer(), gl.createBuffer(), gl.createBuffer()];
    attribute("place", places, 2, gl.FLOAT, false);
    gl.bufferData(gl.ARRAY_BUFFER, points.places, gl.STATIC_DRAW);
    attribute("colour", paints, 4, gl.UNSIGNED_BYTE, true);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }
  prepare();
  const uniform = (name) => gl.getUniformLocation(program, name);

  const dots = {
    kind: "webgl",
    paint(colours, order) {
      kept = [colours, order];
      gl.bindBuffer(gl.ARRAY_BUFFER, paints);
      gl.bufferData(gl.ARRAY_BUFFER, colours, gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, orders);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
    },
    draw(camera, ratio) {
      gl.viewport(0, 0, canvas.width, canvas.height);
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.uniform2f(uniform("middle"), camera.middleX, camera.middleY);
      gl.uniform2f(uniform("centre"), camera.x, camera.y);
      gl.uniform2f(uniform("screen"), camera.width, camera.height);
      gl.uniform1f(uniform("scale"), camera.scale);
      gl.uniform1f(uniform("size"), 2 * radiusOf(points.count, camera.zoom) * ratio + 1);
      gl.drawElements(gl.POINTS, points.count, gl.UNSIGNED_INT, 0);
    },
  };
  canvas.addEventListener("webglcontextlost", (event) => event.preventDefault());
  canvas.addEventListener("webglcontextrestored", () => { prepare(); if (kept) dots.paint(...kept); });
  return dots;
}

// How much of each pixel a dot covers, 0 to 256.
function stampOf(radius) {
  const side = 2 * Math.ceil(radius) + 1, middle = (side - 1) / 2, cover = new Uint16Array(side * side);
  for (let at = 0; at < cover.length; at++) cover[at] = 256 * Math.min(1, Math.max(0, radius + 0.5 - Math.hypot((at % side) - middle, Math.floor(at / side) - middle)));
  return { side, cover };
}

function withPixels(canvas, points) {
  const context = canvas.getContext("2d");
  let colours, order;
  return {
    kind: "pixels",
    paint(...given) { [colours, order] = given; },
    draw(camera, ratio) {
      const { width, height } = canvas, image = context.createImageData(width, height), pixels = image.data;
      const { side, cover } = stampOf(radiusOf(points.count, camera.zoom) * ratio);
      for (const row of order) {
        const strength = colours[4 * row + 3];
        if (!strength) continue;
        const left = Math.round(camera.screenX(points.places[2 * row]) * ratio - side / 2), top = Math.round(camera.screenY(points.places[2 * row + 1]) * ratio - side / 2);
        if (left + side <= 0 || top + side <= 0 || left >= width || top >= height) continue;
        for (let y = Math.max(0, -top); y < side && top + y < height; y++) {
          for (let x = Math.max(0, -left); x < side && left + x < width; x++) {
            const share = (cover[y * side + x] * strength) / 65536, at = 4 * ((top + y) * width + left + x), under = (pixels[at + 3] / 255) * (1 - share), whole = share + under;
            if (!share) continue;
            for (let channel = 0; channel < 3; channel++) pixels[at + channel] = (colours[4 * row + channel] * share + pixels[at + channel] * under) / whole;
            pixels[at + 3] = 255 * whole;
          }
        }
      }
      context.putImageData(image, 0, 0);
    },
  };
}

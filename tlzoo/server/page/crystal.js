// A crystal on a canvas: shaded spheres, bonds and the cell, drawn from back to front. No WebGL, which
// browsers on remote desktops and machines without a graphics card do not have.

const NONMETALS = new Set("H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Te I Xe At Rn".split(" "));
const LABELLED = 9; // pixels of radius from which an atom bears its symbol
const BONDED = 1.1; // parts of the sum of covalent radii
const EDGE = 0.01; // fractional coordinate up to which an atom is drawn on the opposite face, too

const add = (a, b, t = 1) => a.map((x, i) => x + t * b[i]);
const times = (v, m) => [0, 1, 2].map((j) => v[0] * m[0][j] + v[1] * m[1][j] + v[2] * m[2][j]);
const shaded = (colour, t) => {
  const parts = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgb(${parts.map((x) => Math.round(t > 0 ? x + (255 - x) * t : x * (1 + t))).join()})`;
};
const isDark = (colour) => [1, 3, 5].reduce((sum, at, i) => sum + [0.3, 0.59, 0.11][i] * parseInt(colour.slice(at, at + 2), 16), 0) < 140;

export class View {
  constructor(canvas, looks) {
    Object.assign(this, { canvas, looks, atoms: [], bonds: [], edges: [], size: 1 });
    this.home();
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
    canvas.addEventListener("pointermove", (event) => {
      if (event.buttons) this.turn(event.movementX / 120, event.movementY / 120);
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.magnify(Math.exp(-event.deltaY / 600));
    }, { passive: false });
    const keys = {
      ArrowLeft: () => this.turn(-0.15, 0), ArrowRight: () => this.turn(0.15, 0),
      ArrowUp: () => this.turn(0, -0.15), ArrowDown: () => this.turn(0, 0.15),
      "+": () => this.magnify(1.15), "-": () => this.magnify(1 / 1.15),
    };
    canvas.addEventListener("keydown", (event) => {
      if (!(event.key in keys)) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  home() {
    this.zoom = 1;
    this.rotation = [[1, 0, 0], [0, 1, 0], [0, 0, 1]];
    this.turn(0.5, 0.35);
  }

  turn(x, y) {
    const [a, b, c, d] = [Math.cos(x), Math.sin(x), Math.cos(y), Math.sin(y)];
    const step = [[a, b * d, -b * c], [0, c, d], [b, -a * d, a * c]];
    this.rotation = this.rotation.map((row) => times(row, step));
    this.draw();
  }

  magnify(factor) {
    this.zoom = Math.min(8, Math.max(0.3, this.zoom * factor));
    this.draw();
  }

  show({ lattice, elements, frac_coords: coords }) {
    const centre = times([0.5, 0.5, 0.5], lattice);
    const placed = (f) => add(times(f, lattice), centre, -1);
    this.atoms = elements.flatMap((symbol, i) => {
      const wrapped = coords[i].map((x) => ((x % 1) + 1 + 1e-6) % 1 - 1e-6);
      const images = wrapped.reduce((found, x, axis) => found.flatMap((f) => {
        const other = x < EDGE ? [1] : x > 1 - EDGE ? [-1] : [];
        return [f, ...other.map((shift) => f.map((y, k) => (k === axis ? y + shift : y)))];
      }), [wrapped]);
      return images.map((f) => ({ symbol, at: placed(f), ...this.looks[symbol] }));
    });
    const mixed = elements.some((symbol) => NONMETALS.has(symbol));
    this.bonds = [];
    this.atoms.forEach((one, i) => this.atoms.slice(0, i).forEach((other) => {
      const length = Math.hypot(...add(one.at, other.at, -1));
      const metallic = mixed && !NONMETALS.has(one.symbol) && !NONMETALS.has(other.symbol);
      if (!metallic && length < BONDED * (one.radius + other.radius)) this.bonds.push([one, other, length]);
    }));
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [n & 1, (n >> 1) & 1, (n >> 2) & 1]);
    this.edges = corners.flatMap((f) => f.flatMap((x, axis) => {
      if (x) return [];
      const end = f.map((y, k) => (k === axis ? 1 : y));
      return [0, 1, 2, 3, 4, 5, 6, 7].map((n) => [n, n + 1].map((m) => placed(add(f, add(end, f, -1), m / 8))));
    }));
    this.size = Math.max(...[...this.edges.flat(), ...this.atoms.map((atom) => atom.at)].map((p) => Math.hypot(...p))) + 1;
    this.home();
  }

  draw() {
    const { canvas } = this, ratio = devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio), height = Math.round(canvas.clientHeight * ratio);
    if (!width || !height) return;
    Object.assign(canvas, { width, height });
    const pen = canvas.getContext("2d"), line = getComputedStyle(canvas).getPropertyValue("--soft");
    const unit = (this.zoom * Math.min(width, height)) / (2 * this.size);
    const project = (p) => {
      const [x, y, z] = times(p, this.rotation), near = unit / (1 - z / (6 * this.size));
      return { x: width / 2 + near * x, y: height / 2 - near * y, z, near };
    };
    const items = this.edges.map(([from, to]) => this.stroke(pen, project(from), project(to), line, 0.03, -0.8));
    for (const [one, other, length] of this.bonds) {
      for (const [from, to] of [[one, other], [other, one]]) {
        const way = add(to.at, from.at, -1), start = add(from.at, way, (0.8 * ball(from)) / length);
        items.push(this.stroke(pen, project(start), project(add(from.at, way, 0.5)), shaded(from.colour, -0.15), 0.09, 0));
      }
    }
    for (const atom of this.atoms) items.push(this.sphere(pen, project(atom.at), atom, ratio));
    items.sort((a, b) => a.z - b.z).forEach((item) => item.draw());
  }

  stroke(pen, from, to, colour, thickness, behind) {
    return {
      z: (from.z + to.z) / 2 + behind,
      draw: () => {
        Object.assign(pen, { strokeStyle: colour, lineWidth: Math.max(1, 2 * thickness * from.near), lineCap: "round" });
        pen.beginPath();
        pen.moveTo(from.x, from.y);
        pen.lineTo(to.x, to.y);
        pen.stroke();
      },
    };
  }

  sphere(pen, { x, y, z, near }, atom, ratio) {
    return {
      z,
      draw: () => {
        const r = ball(atom) * near;
        const light = pen.createRadialGradient(x - 0.35 * r, y - 0.4 * r, 0.05 * r, x, y, r);
        light.addColorStop(0, shaded(atom.colour, 0.75));
        light.addColorStop(0.45, atom.colour);
        light.addColorStop(1, shaded(atom.colour, -0.5));
        pen.fillStyle = light;
        pen.beginPath();
        pen.arc(x, y, r, 0, 2 * Math.PI);
        pen.fill();
        if (r < LABELLED * ratio) return;
        Object.assign(pen, { fillStyle: isDark(atom.colour) ? "#fff" : "#000", textAlign: "center", textBaseline: "middle" });
        pen.font = `600 ${Math.round(0.75 * r)}px system-ui, sans-serif`;
        pen.fillText(atom.symbol, x, y);
      },
    };
  }
}

const ball = (atom) => 0.1 + 0.36 * atom.radius;

"use strict";
(() => {
  const { times, paths, colours, other } = JSON.parse(document.getElementById("data").textContent);
  const find = (id) => document.getElementById(id);
  const canvas = find("path");
  const slider = find("frame");
  const pen = canvas.getContext("2d");
  let molecule = 0;
  let frame = 0;
  let playing = false;
  let turn = [1, 0, 0, 0, 1, 0, 0, 0, 1]; // rows of a rotation

  paths.forEach((_, k) => find("which").append(new Option(String(k), String(k))));

  const product = (a, b) => [0, 3, 6].flatMap((r) => [0, 1, 2].map((c) => a[r] * b[c] + a[r + 1] * b[c + 3] + a[r + 2] * b[c + 6]));
  const about = (axis, angle) => {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    return axis === "x" ? [1, 0, 0, 0, c, -s, 0, s, c] : [c, 0, s, 0, 1, 0, -s, 0, c];
  };
  turn = product(about("x", 0.35), turn);

  const reach = (path) => {
    const far = path.frames.flatMap(({ pos }) => pos.map((p) => Math.hypot(...p))).sort((a, b) => a - b);
    return far[Math.floor(0.995 * (far.length - 1))] + 0.8;
  };
  const reaches = paths.map(reach);

  const ball = (x, y, r, [red, green, blue]) => {
    const shade = pen.createRadialGradient(x - r * 0.35, y - r * 0.35, r * 0.1, x, y, r);
    shade.addColorStop(0, `rgb(${red + (255 - red) * 0.6},${green + (255 - green) * 0.6},${blue + (255 - blue) * 0.6})`);
    shade.addColorStop(1, `rgb(${red * 0.75},${green * 0.75},${blue * 0.75})`);
    pen.fillStyle = shade;
    pen.beginPath();
    pen.arc(x, y, r, 0, 7);
    pen.fill();
  };

  const draw = () => {
    const scale = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = width * scale;
    canvas.height = height * scale;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    const { elements, pos, bonds } = paths[molecule].frames[frame];
    const unit = Math.min(width, height) / 2 / reaches[molecule];
    const seen = pos.map(([x, y, z]) => {
      const [a, b, c] = [0, 3, 6].map((r) => turn[r] * x + turn[r + 1] * y + turn[r + 2] * z);
      return [width / 2 + a * unit, height / 2 - b * unit, c];
    });
    const things = seen.map(([x, y, z], i) => [z, () => {
      const size = elements[i] === "H" ? 0.26 : elements[i] ? 0.42 : 0.12;
      ball(x, y, unit * size * (1 + 0.03 * z), colours[elements[i]] || other);
    }]);
    for (const [i, j, order] of bonds) {
      const [[x, y, z], [u, v, w]] = [seen[i], seen[j]];
      const long = Math.hypot(u - x, v - y) || 1;
      const aside = [(-(v - y) / long) * unit * 0.1, ((u - x) / long) * unit * 0.1];
      const lines = order === 4 ? 2 : Math.min(order, 3);
      things.push([Math.min(z, w) - 0.001, () => {
        const length = Math.hypot(...pos[i].map((a, k) => a - pos[j][k]));
        pen.globalAlpha = length > 2.2 ? 0.12 : 1; // what cannot be a bond yet
        pen.strokeStyle = "#8b9098";
        pen.lineWidth = Math.max(1, unit * (lines === 1 ? 0.14 : 0.08));
        for (let k = 0; k < lines; k += 1) {
          const shift = 2 * k - lines + 1;
          pen.beginPath();
          pen.moveTo(x + aside[0] * shift, y + aside[1] * shift);
          pen.lineTo(u + aside[0] * shift, v + aside[1] * shift);
          pen.stroke();
        }
        pen.globalAlpha = 1;
      }]);
    }
    things.sort((a, b) => a[0] - b[0]).forEach(([, paint]) => paint());
    slider.value = String(frame);
    find("time").textContent = `t = ${times[frame].toFixed(3)}`;
    find("said").textContent = paths[molecule].smiles ? `Molecule ${molecule} ends as ${paths[molecule].smiles}` : "";
    canvas.dataset.frame = String(frame);
  };

  const show = (k) => {
    frame = Math.max(0, Math.min(times.length - 1, k));
    draw();
  };
  let before = 0;
  const tick = (now) => {
    if (!playing) return;
    if (now - before > 3500 / times.length) {
      before = now;
      if (frame === times.length - 1) pause();
      else show(frame + 1);
    }
    requestAnimationFrame(tick);
  };
  const pause = () => {
    playing = false;
    find("play").textContent = "play";
  };
  const play = () => {
    if (playing) {
      pause();
      return;
    }
    playing = true;
    find("play").textContent = "pause";
    if (frame === times.length - 1) frame = 0;
    requestAnimationFrame(tick);
  };

  find("play").addEventListener("click", play);
  slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
  find("which").addEventListener("change", (event) => {
    molecule = Number(event.target.value);
    show(0);
    if (!playing) play();
  });
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input, select, textarea, button, summary")) return;
    const act = { " ": play, ArrowRight: () => { pause(); show(frame + 1); }, ArrowLeft: () => { pause(); show(frame - 1); } }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    turn = product(product(about("y", event.movementX * 0.01), about("x", event.movementY * 0.01)), turn);
    draw();
  });
  window.addEventListener("resize", draw);
  show(times.length - 1);
  document.documentElement.dataset.ready = "yes";
  if (!window.matchMedia("(prefers-reduced-motion: reduce)").matches) setTimeout(play, 800);
})();

"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const video = document.querySelector("video");
  const curve = document.getElementById("curve");
  const svg = curve.querySelector("svg");
  const tip = document.getElementById("tip");
  const state = document.getElementById("state");
  const rows = [...document.querySelectorAll("tr[data-seek]")];
  const pad = { left: 34, right: 10, top: 26, bottom: 26 };
  const steps = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
    3600, 7200, 14400, 21600, 43200, 86400];
  const fine = data.duration < 1 ? 2 : 1;
  let now = 0;
  let origin = 0;  // Some files do not start at 0 in a browser, as they do in other players.
  let width = 0;
  let height = 0;
  let head, knob, hover;

  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const x = (time) => pad.left + (time / data.duration) * (width - pad.left - pad.right);
  const y = (score) => pad.top + (1 - score) * (height - pad.top - pad.bottom);
  const inside = (spans, time) => spans.findIndex((s) => time >= s[0] - 1e-4 && time < s[1] - 1e-4);

  function clock(time, digits) {
    const unit = 10 ** digits;
    const total = Math.round(time * unit);
    const whole = Math.floor(total / unit);
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor(whole / 60) % 60;
    const text = data.duration >= 3600 ? `${hours}:${two(minutes)}` : `${minutes}`;
    const part = digits ? "." + String(total % unit).padStart(digits, "0") : "";
    return `${text}:${two(whole % 60)}${part}`;
  }

  function step(time) {
    let low = 0;
    let high = data.high.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (data.edges[middle] <= time + 1e-4) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  function score(time) {
    const i = step(time);
    const high = data.high[i].toFixed(2);
    const low = data.low ? data.low[i].toFixed(2) : high;
    return low === high ? high : `${low}–${high}`;
  }

  function add(tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return svg.appendChild(node);
  }

  function box(span, kind, top, tall) {
    const wide = Math.max(x(span[1]) - x(span[0]), 1.5);
    add("rect", { class: kind, x: x(span[0]), y: top, width: wide, height: tall });
  }

  function draw() {
    width = curve.clientWidth;
    height = width < 520 ? 190 : 240;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    const floor = y(0);
    for (const span of data.gaps) box(span, "gap", pad.top, floor - pad.top);
    for (const span of data.truth || []) box(span, "truth", pad.top, floor - pad.top);
    for (const event of data.events) {
      box(event, "event", pad.top, floor - pad.top);
      box(event, "mark", pad.top - 5, 5);
    }
    for (const value of [0.25, 0.5, 0.75, 1]) {
      add("line", { class: "grid", x1: x(0), x2: x(data.duration), y1: y(value), y2: y(value) });
    }
    for (const value of [0, 0.5, 1]) {
      add("text", { x: pad.left - 8, y: y(value) + 4, "text-anchor": "end" }, value);
    }
    const tick = steps.find((s) => data.duration / s <= (width - 60) / 76) || 86400;
    for (let i = 0; i * tick <= data.duration + 1e-9; i += 1) {
      const at = x(i * tick);
      add("line", { class: "axis", x1: at, x2: at, y1: floor, y2: floor + 4 });
      const label = clock(i * tick, tick < 0.1 ? 2 : tick < 1 ? 1 : 0);
      const anchor = i === 0 ? "start" : at > width - 24 ? "end" : "middle";
      add("text", { x: i === 0 ? at - 3 : at, y: floor + 18, "text-anchor": anchor }, label);
    }
    const upper = data.high.map((s, i) => `${x(data.edges[i])},${y(s)} ${x(data.edges[i + 1])},${y(s)}`);
    const line = upper.join(" ");
    add("polygon", { class: "under", points: `${x(data.edges[0])},${floor} ${line} ${x(data.duration)},${floor}` });
    if (data.low) {
      const lower = data.low.map((s, i) => `${x(data.edges[i + 1])},${y(s)} ${x(data.edges[i])},${y(s)}`);
      add("polygon", { class: "band", points: `${line} ${lower.reverse().join(" ")}` });
    } else {
      add("polyline", { class: "line", points: line });
    }
    const t = y(data.threshold);
    add("line", { class: "threshold", x1: x(0), x2: x(data.duration), y1: t, y2: t });
    add("line", { class: "axis", x1: x(0), x2: x(data.duration), y1: floor, y2: floor });
    hover = add("line", { class: "hover", y1: pad.top, y2: floor, visibility: "hidden" });
    head = add("line", { class: "head", y1: pad.top, y2: floor });
    knob = add("circle", { class: "knob", r: 6 });
    show();
  }

  function show() {
    const at = x(now);
    head.setAttribute("x1", at);
    head.setAttribute("x2", at);
    knob.setAttribute("cx", at);
    knob.setAttribute("cy", y(data.high[step(now)]));
    const event = inside(data.events, now);
    document.getElementById("time").textContent = clock(now, fine);
    document.getElementById("score").textContent = score(now);
    state.hidden = event < 0;
    state.textContent = `Event ${event + 1}`;
    rows.forEach((row) => row.classList.toggle("now", Number(row.dataset.event) === event));
    curve.setAttribute("aria-valuenow", now.toFixed(2));
    curve.setAttribute("aria-valuetext",
      `${clock(now, fine)}, score ${score(now)}${event < 0 ? "" : `, event ${event + 1}`}`);
    document.getElementById("before").disabled = !data.events.some((e) => e[0] < now - 0.5);
    document.getElementById("after").disabled = !data.events.some((e) => e[0] > now + 0.05);
  }

  function seek(time) {
    now = clamp(time, 0, data.duration);
    // A player that is sent to the very end shows nothing on some machines: stop a frame before.
    const last = Math.max(0, data.duration - data.frame / 2);
    if (video) video.currentTime = origin + Math.min(now, last);
    show();
  }

  function follow() {
    if (video.seeking) return;
    now = clamp(video.currentTime - origin, 0, data.duration);
    show();
  }

  function loop() {
    follow();
    if (!video.paused && !video.ended) requestAnimationFrame(loop);
  }

  function toggle() {
    if (!video) return;
    if (video.paused) video.play();
    else video.pause();
  }

  const timeAt = (event) => {
    const place = event.clientX - curve.getBoundingClientRect().left;
    return clamp((place - pad.left) / (width - pad.left - pad.right), 0, 1) * data.duration;
  };

  function point(event) {
    const time = timeAt(event);
    const at = x(time);
    hover.setAttribute("x1", at);
    hover.setAttribute("x2", at);
    hover.setAttribute("visibility", "visible");
    tip.hidden = false;
    tip.textContent = `${clock(time, fine)}   score ${score(time)}`;
    const half = tip.offsetWidth / 2;
    tip.style.left = `${clamp(at, half, Math.max(half, width - half))}px`;
  }

  curve.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    curve.setPointerCapture(event.pointerId);
    seek(timeAt(event));
  });
  curve.addEventListener("pointermove", (event) => {
    point(event);
    if (event.buttons & 1) seek(timeAt(event));
  });
  curve.addEventListener("pointerleave", () => {
    tip.hidden = true;
    hover.setAttribute("visibility", "hidden");
  });
  curve.addEventListener("keydown", (event) => {
    const far = event.shiftKey ? 10 : 1;
    const moves = {
      ArrowRight: now + far, ArrowUp: now + far, ArrowLeft: now - far, ArrowDown: now - far,
      PageUp: now + data.duration / 10, PageDown: now - data.duration / 10,
      Home: 0, End: data.duration,
    };
    if (event.key === " ") toggle();
    else if (event.key in moves) seek(moves[event.key]);
    else return;
    event.preventDefault();
  });
  for (const row of rows) row.addEventListener("click", () => seek(Number(row.dataset.seek)));
  document.getElementById("before").addEventListener("click", () => {
    seek(Math.max(...data.events.map((e) => e[0]).filter((start) => start < now - 0.5)));
  });
  document.getElementById("after").addEventListener("click", () => {
    seek(Math.min(...data.events.map((e) => e[0]).filter((start) => start > now + 0.05)));
  });
  document.querySelector(".jump").hidden = data.events.length === 0;
  if (video) {
    const started = () => { origin = video.currentTime; };
    if (video.readyState > 0) started();
    else video.addEventListener("loadedmetadata", started);
    video.addEventListener("play", loop);
    video.addEventListener("timeupdate", follow);
    video.addEventListener("seeked", follow);
  }
  new ResizeObserver(() => { if (curve.clientWidth !== width) draw(); }).observe(curve);
  draw();
})();

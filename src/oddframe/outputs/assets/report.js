(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const video = document.querySelector("video");
  const curve = byId("curve");
  const overview = byId("overview");
  const tip = byId("tip");
  const state = byId("state");
  const table = document.querySelector("table.events");
  const body = byId("events");
  const LEAD = 1; // Seconds that are played before an event starts.
  const SLACK = 1e-9; // As in the rule of events: lengths this close (s) are equal.
  const pad = { left: 34, right: 10, top: 26, bottom: 26 };
  const ticks = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800,
    3600, 7200, 14400, 21600, 43200, 86400];
  const duration = data.end - data.start;
  const fine = duration < 1 ? 2 : 1;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // The curve that the threshold applies to: scores[i] lasts from edges[i] to edges[i + 1]. It is
  // NaN where there is no picture: before the first frame, and in a gap.
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;

  function readCurve() {
    const starts = new Int32Array(bytes(data.starts)); // First frame of each run of equal scores.
    const values = new Float64Array(bytes(data.scores));
    const times = data.times && new Float64Array(bytes(data.times));
    const time = (frame) => (times ? times[frame] : data.first + frame / data.fps);
    const edges = [];
    const scores = []; // Smoothed.
    const exact = [];
    if (data.first > data.start) {
      edges.push(data.start);
      scores.push(NaN);
      exact.push(NaN);
    }
    let i = 0;
    let end = data.end;
    data.parts.forEach(([first, after, end_s], part) => {
      const from = i;
      while (i < starts.length && starts[i] < after) i += 1;
      if (data.rule.smooth_s <= 0) {
        for (let k = from; k < i; k += 1) edges.push(times ? times[k] : time(starts[k]));
        for (let k = from; k < i; k += 1) scores.push(values[k]);
        for (let k = from; k < i; k += 1) exact.push(values[k]);
      } else {
        const own = Float64Array.from({ length: after - first + 1 }, (_, k) => time(first + k));
        own[after - first] = end_s;
        const level = new Float64Array(after - first);
        for (let k = from; k < i; k += 1) {
          level.fill(values[k], starts[k] - first, (k + 1 < i ? starts[k + 1] : after) - first);
        }
        const mean = smoothed(level, own, data.rule.smooth_s);
        for (let k = 0; k < mean.length; k += 1) edges.push(own[k]);
        for (let k = 0; k < mean.length; k += 1) scores.push(mean[k]);
        for (let k = 0; k < mean.length; k += 1) exact.push(level[k]);
      }
      if (part + 1 < data.parts.length) {
        edges.push(end_s);
        scores.push(NaN);
        exact.push(NaN);
      }
      end = end_s;
    });
    edges.push(end);
    return { edges: Float64Array.from(edges), scores: Float64Array.from(scores), exact };
  }

  // The same arithmetic as oddframe.events.smooth_frame_scores, in the same order.
  function smoothed(scores, edges, width) {
    const n = scores.length;
    const integral = new Float64Array(n + 1);
    let least = Infinity;
    let most = -Infinity;
    for (let i = 0; i < n; i += 1) {
      integral[i + 1] = integral[i] + scores[i] * (edges[i + 1] - edges[i]);
      least = Math.min(least, scores[i]);
      most = Math.max(most, scores[i]);
    }
    const reader = () => {
      let j = 0;
      return (x) => {
        while (j < n && edges[j + 1] <= x) j += 1;
        if (j === n || edges[j] === x) return integral[j];
        return (integral[j + 1] - integral[j]) / (edges[j + 1] - edges[j]) * (x - edges[j]) + integral[j];
      };
    };
    const upper = reader();
    const lower = reader();
    const result = new Float64Array(n);
    for (let i = 0; i < n; i += 1) {
      const middle = (edges[i + 1] + edges[i]) / 2;
      const low = Math.max(middle - width / 2, edges[0]);
      const high = Math.min(middle + width / 2, edges[n]);
      result[i] = clamp((upper(high) - lower(low)) / (high - low), least, most);
    }
    return result;
  }

  // The same rule as oddframe.events.find_events; exact are the scores before smoothing.
  function findEvents(scores, exact, edges, rule) {
    const spans = [];
    let first = -1; // Of the run of scores of at least the release.
    let peak = -1;
    let follows = false; // Whether there is no gap after the last event.
    for (let i = 0; i <= scores.length; i += 1) {
      if (i < scores.length && scores[i] >= rule.release) {
        if (first < 0) first = peak = i;
        if (scores[i] > scores[peak]) peak = i;
      } else if (first >= 0) {
        if (scores[peak] >= rule.threshold) {
          const [start, end] = extent(exact, rule.release, first, i, peak);
          const last = spans[spans.length - 1];
          if (follows && !(edges[start] - edges[last[1]] > rule.merge_gap_s - SLACK)) {
            last[1] = Math.max(last[1], end);
          } else spans.push([start, end]);
          follows = true;
        }
        first = -1;
      }
      if (Number.isNaN(scores[i])) follows = false;
    }
    const long = spans.filter(([a, b]) => edges[b] - edges[a] >= rule.min_duration_s - SLACK);
    return long.map(([a, b]) => {
      let peak = a;
      for (let i = a; i < b; i += 1) if (scores[i] > scores[peak]) peak = i;
      return { start: edges[a], end: edges[b], peak: edges[peak], score: scores[peak] };
    });
  }

  // From the first to the last run of exact scores of at least the release that [first, after)
  // touches; with its peak.
  function extent(exact, release, first, after, peak) {
    let start = first;
    let end = after;
    if (exact[first] >= release) while (exact[start - 1] >= release) start -= 1;
    else while (start < peak && !(exact[start] >= release)) start += 1;
    if (exact[after - 1] >= release) while (exact[end] >= release) end += 1;
    else while (end > peak + 1 && !(exact[end - 1] >= release)) end -= 1;
    return [start, end];
  }

  function ruleAt(threshold) {
    const rule = data.rule;
    if (threshold === rule.threshold) return rule;
    const ratio = rule.threshold > 0 ? rule.release / rule.threshold : 1;
    return { ...rule, threshold, release: Math.min(threshold, threshold * ratio) };
  }

  const { edges, scores, exact } = readCurve();
  const gaps = [];
  scores.forEach((score, i) => { if (Number.isNaN(score)) gaps.push([edges[i], edges[i + 1]]); });
  const level = (i) => scores[i] || 0; // For drawing: 0 where there is no picture.
  const scoreText = (i) => (Number.isNaN(scores[i]) ? "–" : scores[i].toFixed(2));

  // Events that are shown: at the chosen threshold, without those below the chosen score.
  let threshold = data.rule.threshold;
  let events = [];
  let shown = [];
  let now = data.start;
  let selected = null;
  // Time at which the browser starts the file: not 0 for some files, unlike in other players. Null
  // until the first picture is shown.
  let origin = null;
  let marked = null; // The row of the current event.

  const original = [...body.rows].map((row) => ({
    start: Number(row.dataset.start), end: Number(row.dataset.end), peak: data.peaks[row.rowIndex - 1],
    score: Number(row.dataset.score), row,
  }));
  const near = (a, b) => Math.abs(a - b) < 1e-6;
  const alike = (a, b) => near(a.start, b.start) && near(a.end, b.end) && near(a.score, b.score);

  function clock(time, digits) {
    const unit = 10 ** digits;
    const total = Math.round(Math.max(0, time) * unit);
    const whole = Math.floor(total / unit);
    const two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const minutes = Math.floor(whole / 60) % 60;
    const text = data.hours ? `${hours}:${two(minutes)}` : `${Math.floor(whole / 60)}`;
    const part = digits ? "." + String(total % unit).padStart(digits, "0") : "";
    return `${text}:${two(whole % 60)}${part}`;
  }

  function length(seconds) {
    if (Math.round(seconds) >= 60) {
      const whole = Math.round(seconds);
      const two = (n) => String(n).padStart(2, "0");
      if (whole < 3600) return `${Math.floor(whole / 60)}:${two(whole % 60)} min`;
      return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)} h`;
    }
    return `${seconds.toFixed(seconds < 1 ? 2 : seconds < 10 ? 1 : 0)} s`;
  }

  function newRow(event) {
    const row = byId("new-row").content.firstElementChild.cloneNode(true);
    Object.assign(row.dataset, { start: event.start, end: event.end,
      length: event.end - event.start, score: event.score });
    row.querySelector(".go").textContent = clock(event.start, fine);
    row.querySelector(".end").textContent = clock(event.end, fine);
    row.querySelector(".length").textContent = length(event.end - event.start);
    row.querySelector(".peak").textContent = clock(event.peak, fine);
    row.querySelector(".score").textContent = event.score.toFixed(2);
    const seen = original.find((e) => e.peak >= event.start && e.peak < event.end);
    const picture = seen && seen.row.querySelector(".picture img");
    if (picture) row.querySelector(".picture").append(picture.cloneNode());
    const like = seen && seen.row.querySelector(".like");
    if (like) row.querySelector(".like").replaceWith(like.cloneNode(true));
    const mark = row.querySelector(".truth-mark span");
    if (mark) {
      const real = data.truth.some((t) => Math.min(event.end, t[1]) - Math.max(event.start, t[0]) > 0);
      mark.className = real ? "yes" : "no";
      mark.textContent = real ? "real" : "false alarm";
    }
    return row;
  }

  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

  function count() {
    const hidden = events.length - shown.length;
    let text = plural(shown.length, "event");
    if (hidden) text += ` shown, ${hidden} of lower scores hidden`;
    if (threshold !== data.rule.threshold) {
      text = `At a threshold of ${threshold.toFixed(2)} there would be ${plural(events.length, "event")} `
        + `instead of ${original.length}` + (hidden ? `, ${hidden} of lower scores hidden` : "")
        + `. To have them: oddframe score --threshold ${threshold.toFixed(2)}`;
    } else if (!events.length) {
      text = data.none;
    }
    byId("count").textContent = text;
  }

  function setEvents(found) {
    events = found.map((event) => {
      const known = original.find((each) => alike(each, event));
      const row = known ? known.row : newRow(event);
      return { ...event, row };
    });
    events.forEach((event, i) => {
      event.number = i + 1;
      event.row.id = `event-${i + 1}`;
      event.row.querySelector(".number").textContent = i + 1;
      const image = event.row.querySelector("img");
      if (image) image.alt = `Event ${i + 1} at its peak`;
      event.row.querySelector(".go").setAttribute("aria-label",
        `Event ${i + 1}: play from before ${clock(event.start, fine)}`);
    });
    body.replaceChildren(...events.map((event) => event.row));
    selected = null;
    sort();
    filter();
  }

  function filter() {
    const least = Number(byId("least").value) || 0;
    for (const event of events) event.row.hidden = event.score < least;
    shown = events.filter((event) => event.score >= least);
    body.closest(".wide-table").classList.toggle("empty", shown.length === 0);
    count();
    draw();
  }

  function setThreshold(value) {
    threshold = value;
    byId("threshold-value").textContent = value.toFixed(2);
    byId("threshold-reset").hidden = value === data.rule.threshold;
    setEvents(value === data.rule.threshold ? original : findEvents(scores, exact, edges, ruleAt(value)));
  }

  // Drawing.
  let width = 0;
  let height = 0;
  let view = [data.start, data.end];
  let head, knob, hover, target;

  const x = (time) => pad.left + (time - view[0]) / (view[1] - view[0]) * (width - pad.left - pad.right);
  const y = (score) => pad.top + (1 - clamp(score, 0, 1)) * (height - pad.top - pad.bottom);

  function step(time) {
    let low = 0;
    let high = scores.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (edges[middle] <= time + 1e-4) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  function add(tag, attributes, text) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return target.appendChild(node);
  }

  function box(start, end, kind, top, tall, place) {
    const left = clamp(place(start), pad.left, width - pad.right);
    const right = clamp(place(end), pad.left, width - pad.right);
    if (end < view[0] || start > view[1]) return;
    add("rect", { class: kind, x: left, y: top, width: Math.max(right - left, 1.5), height: tall });
  }

  // Lowest and highest score of each of `columns` equal parts of [from, to].
  function columnsOf(from, to, columns) {
    const parts = [];
    let i = step(from);
    for (let c = 0; c < columns; c += 1) {
      const end = from + (to - from) * (c + 1) / columns;
      let low = level(i);
      let high = level(i);
      while (i + 1 < scores.length && edges[i + 1] < end) {
        i += 1;
        low = Math.min(low, level(i));
        high = Math.max(high, level(i));
      }
      parts.push([low, high]);
    }
    return parts;
  }

  function drawCurve(floor) {
    const inner = Math.max(1, Math.round(width - pad.left - pad.right));
    const first = step(view[0]);
    const last = step(view[1]);
    const left = x(view[0]);
    const right = x(view[1]);
    if (last - first > 2 * inner) {
      const parts = columnsOf(view[0], view[1], inner);
      const at = (c) => left + (right - left) * c / inner;
      const top = parts.map(([, high], c) => `${at(c)},${y(high)} ${at(c + 1)},${y(high)}`).join(" ");
      const under = parts.map(([low], c) => `${at(c + 1)},${y(low)} ${at(c)},${y(low)}`).reverse().join(" ");
      add("polygon", { class: "under", points: `${left},${floor} ${top} ${right},${floor}` });
      add("polygon", { class: "band", points: `${top} ${under}` });
      return;
    }
    const points = [];
    for (let i = first; i <= last; i += 1) {
      points.push(`${Math.max(x(edges[i]), left)},${y(level(i))}`);
      points.push(`${Math.min(x(edges[i + 1]), right)},${y(level(i))}`);
    }
    add("polygon", { class: "under", points: `${left},${floor} ${points.join(" ")} ${right},${floor}` });
    add("polyline", { class: "line", points: points.join(" ") });
  }

  function draw() {
    width = curve.clientWidth;
    if (!width) return;
    height = width < 520 ? 170 : 220;
    const svg = curve.querySelector("svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    target = svg;
    const floor = y(0);
    for (const span of gaps) box(span[0], span[1], "gap", pad.top, floor - pad.top, x);
    for (const span of data.truth || []) box(span[0], span[1], "truth", pad.top, floor - pad.top, x);
    for (const event of shown) {
      box(event.start, event.end, "event", pad.top, floor - pad.top, x);
      box(event.start, event.end, "mark", pad.top - 5, 5, x);
    }
    for (const value of [0.25, 0.5, 0.75, 1]) {
      add("line", { class: "grid", x1: x(view[0]), x2: x(view[1]), y1: y(value), y2: y(value) });
    }
    for (const value of [0, 0.5, 1]) {
      add("text", { x: pad.left - 8, y: y(value) + 4, "text-anchor": "end" }, value);
    }
    const seen = view[1] - view[0];
    const tick = ticks.find((s) => seen / s <= (width - 60) / 76) || 86400;
    for (let i = Math.ceil(view[0] / tick - 1e-9); i * tick <= view[1] + 1e-9; i += 1) {
      const at = x(i * tick);
      add("line", { class: "axis", x1: at, x2: at, y1: floor, y2: floor + 4 });
      const label = clock(i * tick, tick < 0.1 ? 2 : tick < 1 ? 1 : 0);
      const anchor = at < pad.left + 12 ? "start" : at > width - 24 ? "end" : "middle";
      add("text", { x: at, y: floor + 18, "text-anchor": anchor }, label);
    }
    drawCurve(floor);
    const t = y(threshold);
    add("line", { class: "threshold", x1: x(view[0]), x2: x(view[1]), y1: t, y2: t });
    add("line", { class: "axis", x1: x(view[0]), x2: x(view[1]), y1: floor, y2: floor });
    hover = add("line", { class: "hover", y1: pad.top, y2: floor, visibility: "hidden" });
    head = add("line", { class: "head", y1: pad.top, y2: floor });
    knob = add("circle", { class: "knob", r: 6 });
    drawOverview();
    show();
  }

  const OVERVIEW = 30;
  let whole = { width: 0, points: "" }; // The curve of the whole video, drawn once for each width.
  const xWhole = (time) => pad.left + (time - data.start) / duration * (width - pad.left - pad.right);
  const isWhole = () => view[0] <= data.start && view[1] >= data.end;

  function drawOverview() {
    target = overview.querySelector("svg");
    target.setAttribute("viewBox", `0 0 ${width} ${OVERVIEW}`);
    target.replaceChildren();
    const inner = Math.max(1, Math.round((width - pad.left - pad.right) / 2));
    const left = pad.left;
    const right = width - pad.right;
    add("rect", { class: "well", x: left, y: 0, width: right - left, height: OVERVIEW });
    if (whole.width !== width) {
      const points = columnsOf(data.start, data.end, inner).map(([, high], c) =>
        `${left + (right - left) * (c + 0.5) / inner},${OVERVIEW * (1 - 0.86 * clamp(high, 0, 1))}`);
      whole = { width, points: points.join(" ") };
    }
    add("polygon", { class: "small", points: `${left},${OVERVIEW} ${whole.points} ${right},${OVERVIEW}` });
    for (const event of shown) {
      const at = xWhole(event.start);
      add("rect", { class: "mark", x: at, y: 0, width: Math.max(1.5, xWhole(event.end) - at), height: 3 });
    }
    if (!isWhole()) {
      const a = xWhole(view[0]);
      add("rect", { class: "window", x: a, y: 0.75, width: Math.max(2, xWhole(view[1]) - a), height: OVERVIEW - 1.5 });
    }
  }

  function setView(start, end) {
    const least = Math.min(duration, Math.max(0.5, 10 * data.frame));
    const seen = clamp(end - start, least, duration);
    const middle = (start + end) / 2;
    const from = clamp(middle - seen / 2, data.start, data.end - seen);
    view = seen >= duration ? [data.start, data.end] : [from, from + seen];
    byId("zoom-reset").disabled = byId("zoom-out").disabled = isWhole();
    byId("zoom-in").disabled = seen <= least;
    byId("view").textContent = isWhole() ? "" : `${clock(view[0], fine)} to ${clock(view[1], fine)}`;
    draw();
  }

  // Make the visible part `factor` times as long; the time `around` stays where it is.
  function zoom(factor, around) {
    const at = clamp(around, view[0], view[1]);
    const least = Math.min(duration, Math.max(0.5, 10 * data.frame));
    const f = clamp((view[1] - view[0]) * factor, least, duration) / (view[1] - view[0]);
    setView(at - (at - view[0]) * f, at + (view[1] - at) * f);
  }

  function keepInView(time) {
    if (time >= view[0] && time <= view[1]) return;
    const seen = view[1] - view[0];
    setView(time - seen * 0.1, time + seen * 0.9);
  }

  // The current time.
  const current = () => {
    const inside = shown.find((e) => now >= e.start - 1e-4 && now < e.end - 1e-4);
    if (inside) return [inside, true];
    const leads = selected && shown.includes(selected) && now < selected.start && now >= selected.start - LEAD - 0.05;
    return [leads ? selected : null, false];
  };

  // The time from which the next and the previous event are counted: in the second before a chosen
  // event, that event.
  const counted = () => {
    const [event, inside] = current();
    return event && !inside ? event.start : now;
  };
  const eventAfter = () => shown.find((e) => e.start > counted() + 0.05);
  const eventBefore = () => shown.findLast((e) => e.start < counted() - 0.5);

  function show() {
    if (!head) return;
    const visible = now >= view[0] - 1e-9 && now <= view[1] + 1e-9 ? "visible" : "hidden";
    const at = x(now);
    for (const part of [head, knob]) part.setAttribute("visibility", visible);
    head.setAttribute("x1", at);
    head.setAttribute("x2", at);
    knob.setAttribute("cx", at);
    const score = scoreText(step(now));
    knob.setAttribute("cy", y(level(step(now))));
    const [event, inside] = current();
    byId("time").textContent = clock(now, fine);
    byId("score").textContent = score;
    state.hidden = !inside;
    state.textContent = inside ? `Event ${event.number}` : "";
    const row = event ? event.row : null;
    if (row !== marked) {
      if (marked) marked.classList.remove("now");
      if (row) row.classList.add("now");
      marked = row;
    }
    curve.setAttribute("aria-valuenow", now.toFixed(2));
    curve.setAttribute("aria-valuetext",
      `${clock(now, fine)}, score ${score}${inside ? `, event ${event.number}` : ""}`);
    byId("before").disabled = !eventBefore();
    byId("after").disabled = !eventAfter();
  }

  function seek(time, event = null) {
    selected = event;
    now = clamp(time, data.start, data.end);
    place();
    keepInView(now);
    show();
  }

  function place() {
    if (!video || origin === null) return;
    // At the very end some players show nothing: stop a frame before.
    const last = Math.max(data.start, data.end - data.frame / 2);
    video.currentTime = origin + Math.min(now, last);
  }

  function playFrom(start, event) {
    seek(start - LEAD, event);
    if (video) video.play().catch(() => {}); // Some browsers play only after a click on the page.
  }

  function choose(event, play = true) {
    if (!event) return;
    if (play) playFrom(event.start, event);
    else seek(event.start - LEAD, event);
    event.row.scrollIntoView({ block: "nearest" });
  }

  function follow() {
    if (video.seeking || origin === null) return;
    now = clamp(video.currentTime - origin, data.start, data.end);
    if (!video.paused) keepInView(now);
    show();
  }

  function loop() {
    follow();
    if (!video.paused && !video.ended) requestAnimationFrame(loop);
  }

  function toggle() {
    if (!video) return;
    if (video.paused) video.play().catch(() => {});
    else video.pause();
  }

  // Pointer: click and drag seek, two fingers and the wheel zoom.
  const timeAt = (event) => {
    const place = event.clientX - curve.getBoundingClientRect().left;
    const share = clamp((place - pad.left) / (width - pad.left - pad.right), 0, 1);
    return view[0] + share * (view[1] - view[0]);
  };
  const fingers = new Map();

  function point(event) {
    const time = timeAt(event);
    const at = x(time);
    hover.setAttribute("x1", at);
    hover.setAttribute("x2", at);
    hover.setAttribute("visibility", "visible");
    tip.hidden = false;
    tip.textContent = `${clock(time, fine)}   score ${scoreText(step(time))}`;
    const half = tip.offsetWidth / 2;
    tip.style.left = `${clamp(at, half, Math.max(half, width - half))}px`;
  }

  function pinch(event) {
    const [one, other] = [...fingers.values()];
    const before = Math.abs(one.clientX - other.clientX);
    fingers.set(event.pointerId, event);
    const [a, b] = [...fingers.values()];
    const after = Math.abs(a.clientX - b.clientX);
    const middle = { clientX: (a.clientX + b.clientX) / 2 };
    if (before > 20 && after > 20) zoom(before / after, timeAt(middle));
  }

  curve.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    curve.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, event);
    if (fingers.size === 1) seek(timeAt(event));
  });
  curve.addEventListener("pointermove", (event) => {
    if (fingers.size > 1) {
      if (fingers.has(event.pointerId)) pinch(event);
      return;
    }
    point(event);
    if (event.buttons & 1 && fingers.has(event.pointerId)) seek(timeAt(event));
  });
  for (const end of ["pointerup", "pointercancel"]) {
    curve.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  curve.addEventListener("pointerleave", () => {
    tip.hidden = true;
    hover.setAttribute("visibility", "hidden");
  });
  curve.addEventListener("wheel", (event) => {
    if (event.deltaX && Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      if (isWhole()) return;
      event.preventDefault();
      const by = event.deltaX / width * (view[1] - view[0]);
      setView(view[0] + by, view[1] + by);
      return;
    }
    if (isWhole() && event.deltaY >= 0) return; // Cannot zoom out further: the page scrolls.
    event.preventDefault();
    zoom(1.0015 ** clamp(event.deltaY * (event.deltaMode ? 30 : 1), -400, 400), timeAt(event));
  }, { passive: false });

  // The strip below the curve: a drag chooses the visible part, a click moves it.
  let brush = null;
  const timeOnStrip = (event) => {
    const place = event.clientX - overview.getBoundingClientRect().left;
    return data.start + clamp((place - pad.left) / (width - pad.left - pad.right), 0, 1) * duration;
  };
  overview.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    overview.setPointerCapture(event.pointerId);
    brush = { from: timeOnStrip(event), x: event.clientX, moved: false };
  });
  overview.addEventListener("pointermove", (event) => {
    if (!brush) return;
    brush.moved ||= Math.abs(event.clientX - brush.x) > 4;
    const to = timeOnStrip(event);
    if (brush.moved) setView(Math.min(brush.from, to), Math.max(brush.from, to));
  });
  overview.addEventListener("pointerup", (event) => {
    if (brush && !brush.moved && !isWhole()) {
      const seen = view[1] - view[0];
      const middle = timeOnStrip(event);
      setView(middle - seen / 2, middle + seen / 2);
    }
    brush = null;
  });
  overview.addEventListener("pointercancel", () => { brush = null; });

  // Keys. An element with the focus that uses a key itself gets it.
  const wholeKeys = {
    n: () => choose(eventAfter()),
    p: () => choose(eventBefore()),
    "+": () => zoom(0.5, now),
    "=": () => zoom(0.5, now),
    "-": () => zoom(2, now),
    0: () => setView(data.start, data.end),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const on = event.target;
    const onCurve = on === curve;
    const typing = on.matches("input:not([type=range]), select, textarea");
    if (typing) return;
    const far = event.shiftKey ? 10 : 1;
    const sideways = { ArrowRight: now + far, ArrowLeft: now - far };
    const along = {
      ArrowUp: now + far, ArrowDown: now - far, PageUp: now + duration / 10, PageDown: now - duration / 10,
      Home: data.start, End: data.end,
    };
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (Object.hasOwn(wholeKeys, key)) wholeKeys[key]();
    else if (key === " " && !on.matches("button, a, summary, video, input")) toggle();
    else if (key in sideways && !on.matches("input, video, .wide-table")) seek(sideways[key]);
    else if (onCurve && key in along) seek(along[key]);
    else return;
    event.preventDefault();
  });

  // Rows, buttons, controls.
  const sort = sortable(table);
  body.addEventListener("click", (click) => {
    const row = click.target.closest("tr");
    choose(events.find((event) => event.row === row));
  });
  for (const row of document.querySelectorAll("tr[data-start]")) {
    if (!body.contains(row)) row.addEventListener("click", () => playFrom(Number(row.dataset.start)));
  }
  byId("before").addEventListener("click", () => choose(eventBefore()));
  byId("after").addEventListener("click", () => choose(eventAfter()));
  byId("zoom-in").addEventListener("click", () => zoom(0.5, now));
  byId("zoom-out").addEventListener("click", () => zoom(2, now));
  byId("zoom-reset").addEventListener("click", () => setView(data.start, data.end));
  byId("least").addEventListener("input", filter);
  byId("threshold").addEventListener("input", (event) => setThreshold(Number(event.target.value)));
  byId("threshold-reset").addEventListener("click", () => {
    byId("threshold").value = data.rule.threshold;
    setThreshold(data.rule.threshold);
    byId("threshold").focus();
  });
  // If the arithmetic of this page ever differs from oddframe's, it offers no other thresholds.
  const again = findEvents(scores, exact, edges, data.rule);
  byId("what-if").hidden = again.length !== original.length || !again.every((e, i) => alike(e, original[i]));

  const stage = byId("stage");
  const player = document.querySelector(".player");
  new ResizeObserver(() => {
    // The target of a scroll must not be hidden behind the part that stays in view.
    const sticks = [stage, player].find((part) => getComputedStyle(part).position === "sticky");
    document.documentElement.style.scrollPaddingTop = sticks ? `${sticks.offsetHeight + 8}px` : "";
    if (curve.clientWidth !== width) draw();
  }).observe(curve);
  setView(data.start, data.end);
  setEvents(original);
  const named = /^#event-(\d+)$/.exec(location.hash);
  if (video) {
    video.addEventListener("play", loop);
    video.addEventListener("timeupdate", follow);
    video.addEventListener("seeked", follow);
    const started = () => {
      origin = video.currentTime;
      if (now > data.start) place();
    };
    if (video.readyState > 1) started();
    else video.addEventListener("loadeddata", started, { once: true });
  }
  if (named) choose(events[Number(named[1]) - 1], false);
})();

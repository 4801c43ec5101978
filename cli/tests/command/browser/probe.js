// What a reader would notice: marks that are not there, text cut off or on top of other text,
// colours too alike.
(() => {
  const inside = (part, whole, slack) =>
    part.left >= whole.left - slack && part.right <= whole.right + slack &&
    part.top >= whole.top - slack && part.bottom <= whole.bottom + slack;

  const channels = (color) => {
    const parts = color.match(/[\d.]+/g).map(Number);
    return { rgb: parts.slice(0, 3), alpha: parts.length > 3 ? parts[3] : 1 };
  };
  const luminance = (rgb) => {
    const [r, g, b] = rgb.map((c) => {
      const share = c / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dim, bright] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dim + 0.05);
  };
  // The first ground that is opaque; the canvas is that of the root.
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.alpha === 1) return color.rgb;
      if (color.alpha > 0) throw new Error("a ground that shines through");
    }
    throw new Error("no ground");
  };

  const plots = [...document.querySelectorAll("svg")].map((svg) => {
    const frame = svg.getBoundingClientRect();
    const area = svg.querySelector(".plot-area").getBoundingClientRect();
    const marks = {};
    const faint = [];
    for (const mark of svg.querySelectorAll('[class^="mark-"]')) {
      const kind = mark.classList[0];
      const box = mark.getBoundingClientRect();
      const seen = box.width > 0 && box.height > 0 && inside(box, area, 2);
      marks[kind] = (marks[kind] ?? 0) + (seen ? 1 : 0);
      const style = getComputedStyle(mark);
      const paint = kind === "mark-bar" ? style.fill : style.stroke;
      if (paint === "none" || contrast(channels(paint).rgb, ground(svg)) < 3) faint.push(mark.textContent);
    }
    const texts = [...svg.querySelectorAll("text")].map((text) => [text.textContent, text.getBoundingClientRect()]);
    const clipped = texts.filter(([, box]) => !(box.width > 0) || !inside(box, frame, 0.5)).map(([text]) => text);
    const covered = [];
    for (const [index, [text, box]] of texts.entries()) {
      for (const [other, its] of texts.slice(index + 1)) {
        const wide = Math.min(box.right, its.right) - Math.max(box.left, its.left);
        const high = Math.min(box.bottom, its.bottom) - Math.max(box.top, its.top);
        // Boxes of lines have room above and below the letters.
        if (wide > 1 && high > 0.4 * box.height) covered.push(text + " | " + other);
      }
    }
    return { id: svg.getAttribute("aria-labelledby"), marks, faint, clipped, covered };
  });

  let texts = 0;
  const pale = [];
  for (const element of document.body.querySelectorAll("*:not(script)")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!own || element.matches("title, desc")) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const paint = channels(element.tagName === "text" ? style.fill : style.color);
    const value = paint.alpha === 1 ? contrast(paint.rgb, ground(element)) : 0;
    if (value < 4.5) pale.push(value.toFixed(2) + ": " + element.textContent.slice(0, 60));
  }

  parent.postMessage(JSON.stringify({
    width: innerWidth,
    needed: document.documentElement.scrollWidth,
    dark: matchMedia("(prefers-color-scheme: dark)").matches,
    ground: ground(document.body),
    plots,
    texts,
    pale,
    requests: performance.getEntriesByType("resource").map((entry) => entry.name),
  }), "*");
})();

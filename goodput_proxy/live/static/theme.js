// The colours of the style sheet, for what is drawn on a canvas.

const dark = matchMedia("(prefers-color-scheme: dark)");

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

export function font(size = 12) {
  return `${size}px ${getComputedStyle(document.body).fontFamily}`;
}

export function onThemeChange(restyle) {
  dark.addEventListener("change", restyle);
}

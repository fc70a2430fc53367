// One line at a time: a key fades every other line.
const keys = [...document.querySelectorAll(".key")];
for (const key of keys) {
  key.addEventListener("click", () => {
    const on = key.getAttribute("aria-pressed") !== "true";
    for (const other of keys) other.setAttribute("aria-pressed", String(on && other.dataset.style === key.dataset.style));
    for (const part of document.querySelectorAll("svg .line, svg .band, svg .name, svg .lead"))
      part.classList.toggle("faded", on && !part.classList.contains(key.dataset.style));
  });
}
// The films play as one.
const films = [...document.querySelectorAll(".films video")];
const button = document.querySelector(".player button");
const slider = document.querySelector(".player input");
if (films.length) {
  button.addEventListener("click", () => {
    const play = films[0].paused;
    for (const film of films) play ? film.play() : film.pause();
    button.textContent = play ? "Pause" : "Play all";
  });
  slider.addEventListener("input", () => {
    for (const film of films) film.currentTime = slider.value * (film.duration || 0);
  });
  films[0].addEventListener("timeupdate", () => {
    slider.value = films[0].currentTime / films[0].duration;
    for (const film of films.slice(1))
      if (Math.abs(film.currentTime - films[0].currentTime) > 0.15) film.currentTime = films[0].currentTime;
  });
}

// Replaces the plain list of addresses by Swagger UI, where that is installed; nothing is fetched from elsewhere.

const place = document.getElementById("api");

function follow(theme) {
  document.documentElement.classList.toggle("dark-mode", theme === "dark");
}

if (place && window.SwaggerUIBundle) {
  const chosen = document.documentElement.dataset.theme;
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  follow(chosen ?? (system.matches ? "dark" : "light"));
  if (!chosen) system.addEventListener("change", (event) => follow(event.matches ? "dark" : "light"));
  window.SwaggerUIBundle({
    url: place.dataset.document,
    domNode: place,
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: -1,
    displayRequestDuration: true,
    filter: true,
    validatorUrl: null,
    presets: [window.SwaggerUIBundle.presets.apis],
  });
}

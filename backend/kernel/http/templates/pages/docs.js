"use strict";

const place = document.getElementById("docs");

SwaggerUIBundle({
  url: place.dataset.spec,
  domNode: place,
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  filter: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: null, // the default asks a remote host
});

// It looks at the address when it starts only: the link above it would lead nowhere.
addEventListener("hashchange", () => location.reload());

// Says that the token was wrong, where the exporter sent the browser back for that.

if (new URLSearchParams(location.search).get("failed") === "1") {
  const token = document.getElementById("token");
  document.getElementById("wrong").hidden = false;
  token.setAttribute("aria-invalid", "true");
  token.setAttribute("aria-describedby", "wrong where");
}

// Shows that the token was wrong where the exporter redirected back for that. Otherwise continues by itself where the
// browser has the cookie already: it is not sent with a link from another site's page, only with requests from here.

if (new URLSearchParams(location.search).get("failed") === "1") {
  const token = document.getElementById("token");
  document.getElementById("wrong").hidden = false;
  token.setAttribute("aria-invalid", "true");
  token.setAttribute("aria-describedby", "wrong where");
} else {
  // a signed-in browser is redirected, which shows in the response's type and not in its status
  const answer = await fetch(location.pathname, { redirect: "manual" }).catch(() => null);
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  if (answer?.type === "opaqueredirect" && wanted.startsWith("/")) location.replace(`.${wanted}${location.hash}`);
}

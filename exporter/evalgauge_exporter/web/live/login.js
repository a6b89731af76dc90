// Says that the token was wrong, where the exporter sent the browser back for that; and goes on by itself where the
// browser has the token: it does not send the cookie with a link that another site's page leads here by, only from here.

if (new URLSearchParams(location.search).get("failed") === "1") {
  const token = document.getElementById("token");
  document.getElementById("wrong").hidden = false;
  token.setAttribute("aria-invalid", "true");
  token.setAttribute("aria-describedby", "wrong where");
} else {
  // one who is signed in is led on, which shows in a type and not in a status
  const answer = await fetch(location.pathname, { redirect: "manual" }).catch(() => null);
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  if (answer?.type === "opaqueredirect" && wanted.startsWith("/")) location.replace(`.${wanted}${location.hash}`);
}

// How frames come: a stream, polling where the stream fails, and back to the stream by itself.
//
// The browser reconnects a stream that broke off and says with Last-Event-ID how far it got. What it does not do: notice
// a stream that is open and silent (a proxy that buffers, a machine that slept), or try again after an HTTP error. Both
// are done here. The states are `connecting`, `live`, `polling` and `disconnected`.

const POLL_MS = 5_000;
const ANSWER_MS = 10_000;
const FIRST_FRAME_MS = 6_000; // a stream that opened and brought nothing for so long is held back by something
const SILENCE_MS = 30_000; // after so long without a frame it is checked whether there was nothing to say
const REOPEN_MS = [1_000, 2_000, 5_000, 10_000, 20_000];
const HIDDEN_MS = 60_000; // a page that nobody sees gives its connection back: browsers have few for each server
const QUICK = 0.2; // seconds between frames
const CALM = 1; // the same where frames are large
const LARGE = 60_000; // characters

export class Feed {
  /**
   * `runId`: which run, null for the newest active one. `listener`: `frame(frame)`; `state(kind)` when it changes;
   * `refused({status, error})` when the exporter answers that it will not.
   */
  constructor(runId, listener) {
    this.runId = runId;
    this.listener = listener;
    this.kind = "connecting";
    this.interval = QUICK;
    this.source = null;
    this.newest = null;
    this.failures = 0;
    this.pollTimer = null;
    this.reopenTimer = null;
    this.silenceTimer = null;
    this.hiddenTimer = null;
    this.ended = false;
    this.onVisibility = () => this.visibilityChanged();
    this.onOnline = () => this.retryNow();
    document.addEventListener("visibilitychange", this.onVisibility);
    window.addEventListener("online", this.onOnline);
    this.open();
  }

  /** End for good. */
  stop() {
    this.ended = true;
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.removeEventListener("online", this.onOnline);
    clearTimeout(this.hiddenTimer);
    this.close();
    this.stopPolling();
  }

  address(path, parameters = {}) {
    const url = new URL(path, document.baseURI);
    if (this.runId !== null) url.searchParams.set("run_id", this.runId);
    for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
    return url;
  }

  become(kind) {
    if (this.ended || this.kind === kind) return;
    this.kind = kind;
    this.listener.state(kind);
  }

  take(frame) {
    if (this.ended) return;
    // an answer that was on its way while the stream brought a newer frame
    if (this.newest !== null && frame.generated_at < this.newest.generated_at - 1 && this.kind === "live") return;
    this.newest = frame;
    this.listener.frame(frame);
  }

  // -- the stream

  open() {
    this.close();
    const source = new EventSource(this.address("api/benchmark-sse", { interval: this.interval }));
    this.source = source;
    this.expect(FIRST_FRAME_MS);
    source.onmessage = (message) => {
      if (source !== this.source) return;
      let frame;
      try {
        frame = JSON.parse(message.data);
      } catch {
        this.failed();
        return;
      }
      this.failures = 0;
      this.stopPolling();
      this.take(frame);
      this.become("live");
      this.expect(SILENCE_MS);
      if (message.data.length > LARGE && this.interval === QUICK) {
        this.interval = CALM;
        this.open();
      }
    };
    source.onerror = () => {
      if (source === this.source) this.failed();
    };
  }

  close() {
    clearTimeout(this.reopenTimer);
    clearTimeout(this.silenceTimer);
    this.reopenTimer = this.silenceTimer = null;
    if (this.source !== null) this.source.close();
    this.source = null;
  }

  /** The stream broke off: poll meanwhile. The browser reconnects by itself unless it has given up. */
  failed() {
    clearTimeout(this.silenceTimer);
    if (this.source !== null && this.source.readyState === EventSource.CLOSED) this.reopenLater();
    else this.expect(SILENCE_MS);
    this.startPolling();
  }

  reopenLater() {
    this.close();
    const wait = REOPEN_MS[Math.min(this.failures, REOPEN_MS.length - 1)];
    this.failures += 1;
    this.reopenTimer = setTimeout(() => this.open(), wait);
  }

  expect(milliseconds) {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.silent(), milliseconds);
  }

  /** Nothing came for a while: ask whether there was nothing to say. */
  async silent() {
    const before = this.newest;
    const answer = await this.fetchFrame();
    if (this.ended || this.source === null) return;
    const quiet = answer !== null && before !== null && answer.version === before.version && this.kind === "live";
    if (quiet || this.newest !== before) {
      if (quiet) this.take(answer);
      this.expect(SILENCE_MS);
      return;
    }
    if (answer !== null) {
      this.take(answer);
      this.become("polling");
    }
    this.reopenLater();
    this.startPolling();
  }

  // -- polling

  startPolling() {
    if (this.pollTimer !== null || this.ended) return;
    this.pollTimer = setTimeout(() => this.poll(), 0);
  }

  stopPolling() {
    clearTimeout(this.pollTimer);
    this.pollTimer = null;
  }

  async poll() {
    const timer = this.pollTimer;
    const frame = await this.fetchFrame();
    if (this.ended || this.pollTimer !== timer) return; // the stream came back meanwhile
    if (frame !== null) {
      this.take(frame);
      this.become("polling");
    }
    this.pollTimer = setTimeout(() => this.poll(), document.hidden ? HIDDEN_MS : POLL_MS);
  }

  /** The frame as of now; null where there is none to be had, and then the state says so. */
  async fetchFrame() {
    try {
      const response = await fetch(this.address("api/benchmark/frame"), {
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (response.ok) return await response.json();
      if (!this.ended) await this.refused(response);
    } catch {
      this.become("disconnected");
    }
    return null;
  }

  async refused(response) {
    let body = null;
    try {
      body = await response.json();
    } catch {
      // not the exporter's own answer, or a page for people
    }
    if (this.ended) return;
    if (response.status >= 500 || response.status === 429) this.become("disconnected");
    else this.listener.refused({ status: response.status, ...body });
  }

  // -- the world around

  visibilityChanged() {
    clearTimeout(this.hiddenTimer);
    if (document.hidden) {
      this.hiddenTimer = setTimeout(() => {
        this.close();
        this.startPolling();
      }, HIDDEN_MS);
    } else {
      this.retryNow();
    }
  }

  retryNow() {
    if (this.ended || (this.kind === "live" && this.source !== null)) return;
    this.failures = 0;
    this.stopPolling();
    this.open();
    this.startPolling();
  }
}

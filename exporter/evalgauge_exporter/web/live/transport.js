// Transport of frames: an event stream, polling while the stream fails, and automatic return to the stream.
//
// The browser reconnects an interrupted stream by itself. It does not notice a stream that is open and silent (a proxy
// that buffers, a machine that slept), and it does not retry after an HTTP error. Both are done here. The states are
// `connecting`, `live`, `polling` and `disconnected`.

import { applyPatch, readClocks } from "./patches.js";

const POLL_MS = 5_000;
const ANSWER_MS = 10_000;
const FIRST_FRAME_MS = 6_000; // a stream without a frame for this long is buffered by something
const SILENCE_MS = 30_000; // after this long without a frame, check whether there was nothing to send
const REOPEN_MS = [1_000, 2_000, 5_000, 10_000, 20_000];
const HIDDEN_MS = 60_000; // a hidden page closes its connection: browsers have few for each server
const QUICK = 0.2; // seconds between frames
const CALM = 1; // the same where frames are large
const LARGE = 60_000; // characters

export class Feed {
  /**
   * `runId`: the run, null for the newest active one. `listener`: `frame(frame)`; `state(kind)` when it changes;
   * `refused({status, error})` when the exporter refuses the request. The last parameter names other addresses than
   * those of the live page's frames.
   */
  constructor(runId, listener, { stream = "api/benchmark-sse", frame = "api/benchmark/frame" } = {}) {
    this.paths = { stream, frame };
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
    this.stopped = false;
    this.onVisibility = () => this.visibilityChanged();
    this.onOnline = () => this.retryNow();
    document.addEventListener("visibilitychange", this.onVisibility);
    window.addEventListener("online", this.onOnline);
    this.open();
  }

  /** Stop permanently. */
  stop() {
    this.stopped = true;
    document.removeEventListener("visibilitychange", this.onVisibility);
    window.removeEventListener("online", this.onOnline);
    clearTimeout(this.hiddenTimer);
    this.close();
    this.stopPolling();
  }

  buildUrl(path, parameters = {}) {
    const url = new URL(path, document.baseURI);
    if (this.runId !== null) url.searchParams.set("run_id", this.runId);
    for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
    return url;
  }

  setState(kind) {
    if (this.stopped || this.kind === kind) return;
    this.kind = kind;
    this.listener.state(kind);
  }

  deliver(frame) {
    if (this.stopped) return;
    // a polled response that was under way while the stream delivered a newer frame
    if (this.newest !== null && frame.generated_at < this.newest.generated_at - 1 && this.kind === "live") return;
    this.newest = frame;
    this.listener.frame(frame);
  }

  // -- the stream

  open() {
    this.close();
    const source = new EventSource(this.buildUrl(this.paths.stream, { interval: this.interval, patch: 1 }));
    this.source = source;
    this.expectFrame(FIRST_FRAME_MS);
    let streamed = null; // the frame as the stream sends it, which the next patch changes
    const receive = (read) => {
      if (source !== this.source) return;
      try {
        streamed = read();
      } catch {
        this.reopenLater();
        this.startPolling();
        return;
      }
      this.failures = 0;
      this.stopPolling();
      this.deliver(readClocks(streamed));
      this.setState("live");
      this.expectFrame(SILENCE_MS);
    };
    source.addEventListener("patch", (message) => receive(() => applyPatch(streamed, JSON.parse(message.data))));
    source.onmessage = (message) => {
      receive(() => JSON.parse(message.data));
      if (source === this.source && message.data.length > LARGE && this.interval === QUICK) {
        this.interval = CALM;
        this.open();
      }
    };
    source.onerror = () => {
      if (source === this.source) this.handleFailure();
    };
  }

  close() {
    clearTimeout(this.reopenTimer);
    clearTimeout(this.silenceTimer);
    this.reopenTimer = this.silenceTimer = null;
    if (this.source !== null) this.source.close();
    this.source = null;
  }

  /** Poll after the stream was interrupted. The browser reconnects by itself unless it has given up. */
  handleFailure() {
    clearTimeout(this.silenceTimer);
    if (this.source !== null && this.source.readyState === EventSource.CLOSED) this.reopenLater();
    else this.expectFrame(SILENCE_MS);
    this.startPolling();
  }

  reopenLater() {
    this.close();
    const wait = REOPEN_MS[Math.min(this.failures, REOPEN_MS.length - 1)];
    this.failures += 1;
    this.reopenTimer = setTimeout(() => this.open(), wait);
  }

  expectFrame(milliseconds) {
    clearTimeout(this.silenceTimer);
    this.silenceTimer = setTimeout(() => this.checkSilence(), milliseconds);
  }

  /** Check after a silence whether there was nothing to send. */
  async checkSilence() {
    const before = this.newest;
    const answer = await this.fetchFrame();
    if (this.stopped || this.source === null) return;
    const quiet = answer !== null && before !== null && answer.version === before.version && this.kind === "live";
    if (quiet || this.newest !== before) {
      if (quiet) this.deliver(answer);
      this.expectFrame(SILENCE_MS);
      return;
    }
    if (answer !== null) {
      this.deliver(answer);
      this.setState("polling");
    }
    this.reopenLater();
    this.startPolling();
  }

  // -- polling

  startPolling() {
    if (this.pollTimer !== null || this.stopped) return;
    this.pollTimer = setTimeout(() => this.poll(), 0);
  }

  stopPolling() {
    clearTimeout(this.pollTimer);
    this.pollTimer = null;
  }

  async poll() {
    const timer = this.pollTimer;
    const frame = await this.fetchFrame();
    if (this.stopped || this.pollTimer !== timer) return; // the stream is back
    if (frame !== null) {
      this.deliver(frame);
      this.setState("polling");
    }
    this.pollTimer = setTimeout(() => this.poll(), document.hidden ? HIDDEN_MS : POLL_MS);
  }

  /** Fetch the current frame; null where that fails, which the state shows. */
  async fetchFrame() {
    try {
      const response = await fetch(this.buildUrl(this.paths.frame), {
        cache: "no-store",
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      if (response.ok) return await response.json();
      if (!this.stopped) await this.handleRefusal(response);
    } catch {
      this.setState("disconnected");
    }
    return null;
  }

  async handleRefusal(response) {
    let body = null;
    try {
      body = await response.json();
    } catch {
      // not a response of the exporter itself, or an HTML page
    }
    if (this.stopped) return;
    if (response.status >= 500 || response.status === 429) this.setState("disconnected");
    else this.listener.refused({ status: response.status, ...body });
  }

  // -- the browser

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
    if (this.stopped || (this.kind === "live" && this.source !== null)) return;
    this.failures = 0;
    this.stopPolling();
    this.open();
    this.startPolling();
  }
}

// Data that the server sends again and again while a view shows it.

/** The latest event of a stream, and why there is none. */
export class Streamed<T> {
  value = $state.raw<T | null>(null);
  problem = $state("");

  /** `event` is the name of the events, whose data is JSON. */
  constructor(
    private readonly path: string,
    private readonly event: string,
    private readonly fits: (value: unknown) => value is T,
  ) {}

  /** Reads events until the returned function is called. */
  follow(): () => void {
    let timer = 0;
    let source: EventSource;
    const open = () => {
      source = new EventSource(this.path);
      source.addEventListener(this.event, (message: MessageEvent<string>) => this.#take(message.data));
      source.addEventListener("error", () => {
        this.problem = "analytics cannot be reached";
        // The browser itself does not retry an answer that is no stream.
        if (source.readyState === EventSource.CLOSED) timer = window.setTimeout(open, AGAIN_MS);
      });
    };
    open();
    return () => {
      source.close();
      window.clearTimeout(timer);
    };
  }

  #take(text: string): void {
    try {
      const value: unknown = JSON.parse(text);
      if (!this.fits(value)) throw new Error("the answer is of another kind");
      this.value = value;
      this.problem = "";
    } catch (error) {
      this.problem = String(error);
    }
  }
}

/** Wait between attempts. */
const AGAIN_MS = 2_000;

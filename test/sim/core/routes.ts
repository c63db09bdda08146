/** The way from a simulated cloud's route tables to a router that carries packets. */

/** One route as it is now, whatever readers of the API are shown. */
export interface EffectiveRoute {
  readonly table: string;
  /** Canonical CIDR. */
  readonly prefix: string;
  /** The cloud's id of the next hop: an interface, instance, gateway … */
  readonly target: string;
  readonly state: 'active' | 'blackhole';
  /** Address of the next hop in the VPC, where the target is a machine of it: what a router sends to. Absent: drop. */
  readonly via?: string;
}

/** What carries packets. It gets the whole list each time and makes its own routes exactly that. */
export interface RouteSink {
  apply(routes: readonly EffectiveRoute[]): void | Promise<void>;
}

/** Tells sinks of each change, in order; a sink that is slow gets the newest list next. */
export class RoutePublisher {
  #routes: readonly EffectiveRoute[] = [];
  #version = 0;
  readonly #sinks = new Set<RouteSink>();
  readonly #waiting = new Set<() => void>();
  #work: Promise<void> = Promise.resolve();
  #failure: unknown;

  /** The current list, and a number that grows with each change. */
  get current(): { readonly version: number; readonly routes: readonly EffectiveRoute[] } {
    return { version: this.#version, routes: this.#routes };
  }

  /** Adds a sink and gives it the list as it is. Resolves when the sink has applied it. */
  async attach(sink: RouteSink): Promise<void> {
    this.#sinks.add(sink);
    await sink.apply(this.#routes);
  }

  detach(sink: RouteSink): void {
    this.#sinks.delete(sink);
  }

  /** What the routes are now. Nothing happens when they have not changed. */
  publish(routes: readonly EffectiveRoute[]): void {
    if (JSON.stringify(routes) === JSON.stringify(this.#routes)) return;
    this.#routes = routes;
    this.#version += 1;
    for (const wake of this.#waiting) wake();
    const version = this.#version;
    this.#work = this.#work.then(async () => {
      if (version !== this.#version) return;
      for (const sink of this.#sinks) await sink.apply(this.#routes);
    });
    this.#work = this.#work.catch((error: unknown) => {
      this.#failure ??= error;
    });
  }

  /** Resolves when all sinks have what was published. Calls to the API are answered after this. Throws what a sink threw. */
  async settled(): Promise<void> {
    await this.#work;
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
  }

  /** Resolves once there is a version above `after`, or after `timeoutMs` of real time. */
  async changed(after: number, timeoutMs: number): Promise<void> {
    if (this.#version > after) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, timeoutMs).unref();
      this.#waiting.add(wake);
    });
  }
}

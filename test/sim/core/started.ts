interface Startable<C> {
  start(config: C): Promise<unknown>;
  close(): Promise<void>;
}

/** The simulator, started; what of it had started is closed when the rest cannot. */
export async function started<C, S extends Startable<C>>(sim: S, config: C): Promise<S> {
  try {
    await sim.start(config);
  } catch (error) {
    await sim.close();
    throw error;
  }
  return sim;
}

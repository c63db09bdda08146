/** What faults do to a call before it has an effect, whatever the API. */
import type { Clock } from './clock.ts';
import type { Credential, Credentials } from './credentials.ts';
import type { Fault } from './faults.ts';

/** The connection ends without an answer. */
export class Cut extends Error {}

/** A call that faults are put on. */
export interface Victim {
  /** Fires when the caller has gone. */
  readonly gone: AbortSignal;
  authenticate(): Credential | undefined;
  /** In the vendor's words. */
  refusal(fault: Extract<Fault, { readonly kind: 'fail' | 'throttle' | 'unavailable' }>): Error;
}

const untilGone = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });

/** Puts one fault on a call; `lose-reply` is left to whoever sends the answer. Throws Cut, and refusals. */
export async function strike(
  { clock, credentials }: { readonly clock: Clock; readonly credentials: Credentials },
  victim: Victim,
  fault: Fault,
): Promise<void> {
  switch (fault.kind) {
    case 'fail':
    case 'throttle':
    case 'unavailable':
      throw victim.refusal(fault);
    case 'delay':
      return await clock.sleep(fault.ms);
    case 'drop':
      throw new Cut('drop');
    case 'hang':
      await untilGone(victim.gone);
      throw new Cut('hang');
    case 'expire-credentials': {
      const credential = victim.authenticate();
      if (credential !== undefined) credentials.expire(credential.id);
      victim.authenticate();
      return;
    }
    case 'lose-reply':
      return;
  }
}

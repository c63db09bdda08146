/** What tests with the official SDK of AWS have in common, whichever service it is for. */
import type { Credential } from '../../sim/core/credentials.ts';

/** As much of a test as it takes to clean up after it. */
export interface Test {
  teardown(work: () => unknown): unknown;
}

/** A key as clients take it. */
export const credentialsOf = ({ id, secret, token }: Credential) => ({
  accessKeyId: id,
  secretAccessKey: secret,
  ...(token !== undefined && { sessionToken: token }),
});

/** What a refused call of the SDK rejects with. */
export const refusal = (name: string, status: number) => ({ name, $metadata: { httpStatusCode: status } });

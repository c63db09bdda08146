/**
 * An error that a user can see. In a template `{name}` is filled from the error's context. A part in square brackets is
 * left out when a name in it has no value: `{prefix}[ in {table}]`. Every text and every fix is one whole sentence (the
 * code and the request id are added around them).
 *
 * `retry` says what a caller inside the plugin may do: `never` (asking again changes nothing), `backoff` (again, later,
 * with jitter), `after` (only once what the fix says has been done or has come about).
 */
export type RetryClass = 'never' | 'backoff' | 'after';

export interface ErrorEntry {
  readonly text: string;
  readonly fix: string;
  readonly retry: RetryClass;
}

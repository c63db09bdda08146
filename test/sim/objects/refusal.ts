/** A refusal in the store's own words. */
export class Refusal extends Error {
  readonly status: number;
  readonly code: string;
  /** Further elements of the error's XML. */
  readonly elements: Readonly<Record<string, string>>;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: string,
    message: string,
    elements: Readonly<Record<string, string>> = {},
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message);
    this.name = 'Refusal';
    this.status = status;
    this.code = code;
    this.elements = elements;
    this.headers = headers;
  }
}

/** `message` in the place of the usual sentence; `elements` behind it. */
export type Refuse = (
  code: string,
  message?: string,
  elements?: Readonly<Record<string, string>>,
  headers?: Readonly<Record<string, string>>,
) => Refusal;

/** A vendor's refusals, of a table: status and usual sentence by code. */
export const refusing =
  (table: Readonly<Record<string, readonly [status: number, message: string]>>): Refuse =>
  (code, message, elements, headers) => {
    const [status, usual] = table[code] ?? [400, code];
    return new Refusal(status, code, message ?? usual, elements, headers);
  };

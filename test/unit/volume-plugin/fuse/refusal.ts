import { codeOf } from '../../../../shared/error-code.ts';

/** The code with which a call is refused; `none` when it is not. */
export const refusal = (call: () => unknown): string => {
  try {
    call();
    return 'none';
  } catch (error) {
    return codeOf(error) ?? String(error);
  }
};

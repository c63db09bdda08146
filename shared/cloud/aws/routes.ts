import { type Dialect, Ec2Client, type Ec2Options } from './client.ts';
import { type Ec2Error, isOfKind, type RouteErrorKind } from './errors.ts';
import type { Calls } from './model.ts';
import { PERMISSIONS } from './policy.ts';

const ROUTES: Dialect<Calls> = {
  permissions: PERMISSIONS,
  open: async (options) => (await import('./sdk-routes.ts')).openRoutes(options),
};

/** EC2's calls for routes. Errors as those of `Ec2Client`, which see. */
export class Ec2 extends Ec2Client<Calls> {
  constructor(options: Ec2Options<Calls>) {
    super(ROUTES, options);
  }
}

/** Is it this refusal of EC2's, which only the caller can put into words? */
export const isRefusal: (error: unknown, ...kinds: readonly RouteErrorKind[]) => error is Ec2Error = isOfKind;

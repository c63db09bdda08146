import { type Dialect, Ec2Client, type Ec2Options } from './client.ts';
import { Ec2Error, type Ec2ErrorKind } from './errors.ts';
import type { Calls } from './model.ts';
import { PERMISSIONS } from './policy.ts';

/** What a call for routes may throw beside a PluginError: kinds that only the caller can put into words. */
export type Ec2Refusal = Extract<
  Ec2ErrorKind,
  'route-exists' | 'route-missing' | 'table-missing' | 'target-missing' | 'table-full'
>;

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

/** Is it this refusal of EC2's? */
export const isRefusal = (error: unknown, ...kinds: readonly Ec2Refusal[]): error is Ec2Error =>
  error instanceof Ec2Error && kinds.some((kind) => kind === error.kind);

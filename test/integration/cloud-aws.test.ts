// @timeout 5m
// The `vpc` driver in a simulated cloud (aws): see cloud/traffic.ts. IPv6 is each cloud's own matter; isolation, too, for
// AWS has no place to keep the pool of a prefix.
import { cloudTraffic } from './cloud/traffic.ts';
import { dualStack } from './network/dual-stack.ts';
import { isolation } from './network/isolation.ts';

cloudTraffic('aws', [dualStack, isolation]);

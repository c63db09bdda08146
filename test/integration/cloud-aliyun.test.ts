// @timeout 5m
// The `vpc` driver in a simulated cloud (aliyun): see cloud/traffic.ts. IPv6 is each cloud's own matter.
import { cloudTraffic } from './cloud/traffic.ts';
import { dualStack } from './network/dual-stack.ts';

cloudTraffic('aliyun', [dualStack]);

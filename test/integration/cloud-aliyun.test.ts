// @timeout 5m
// The `vpc` driver in a simulated cloud (aliyun): see cloud/traffic.ts.
import { cloudTraffic } from './cloud/traffic.ts';

cloudTraffic('aliyun');

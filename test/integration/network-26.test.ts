// @timeout 9m
// The `vpc` driver on engine 26: see network/matrix.ts.
import { matrix } from './network/matrix.ts';

matrix('26', 'legacy');

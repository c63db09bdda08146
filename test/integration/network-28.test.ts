// @timeout 9m
// The `vpc` driver on engine 28: see network/matrix.ts.
import { matrix } from './network/matrix.ts';

matrix('28', 'nft');

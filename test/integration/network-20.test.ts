// @timeout 9m
// The `vpc` driver on engine 20: see network/matrix.ts.
import { matrix } from './network/matrix.ts';

matrix('20', 'nft');

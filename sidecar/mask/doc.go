// Package mask replaces what must not be seen: whole values of protected columns by a method that keeps them
// valid for their type, and whatever the detectors recognise, or a policy's patterns match, inside texts, rows and
// streams by the same number of bytes, so that nothing around a match moves.
//
// The detectors are the second net. The first is to know which column a value comes from; a detector only finds
// what looks like what it is.
//
// The package is pure: no sockets, no clock. Nothing in it allocates while nothing matches.
package mask

package mask

// Object ids of PostgreSQL's built-in types (src/include/catalog/pg_type.dat); they never change.
const (
	oidBool        = 16
	oidBytea       = 17
	oidChar        = 18
	oidName        = 19
	oidInt8        = 20
	oidInt2        = 21
	oidInt4        = 23
	oidText        = 25
	oidOID         = 26
	oidJSON        = 114
	oidCIDR        = 650
	oidFloat4      = 700
	oidFloat8      = 701
	oidUnknown     = 705
	oidInet        = 869
	oidBpchar      = 1042
	oidVarchar     = 1043
	oidDate        = 1082
	oidTime        = 1083
	oidTimestamp   = 1114
	oidTimestampTZ = 1184
	oidInterval    = 1186
	oidTimeTZ      = 1266
	oidBit         = 1560
	oidVarbit      = 1562
	oidNumeric     = 1700
	oidUUID        = 2950
	oidJSONB       = 3802
)

// Format codes of values (PostgreSQL protocol, "Formats and Format Codes").
const (
	formatText   = 0
	formatBinary = 1
)

// Applies tells whether detectors look at columns of a type. They pass over what is never one of the things
// detected but often looks like it: fractions, bit strings, identifiers, points in time, addresses of the
// network, and the integers that are too small to hold a card number; arrays of these too.
func Applies(typ uint32) bool {
	switch typ {
	case oidBool, oidInt2, oidInt4, oidOID, oidFloat4, oidFloat8, oidNumeric, oidBit, oidVarbit, oidUUID,
		oidDate, oidTime, oidTimeTZ, oidTimestamp, oidTimestampTZ, oidInterval, oidInet, oidCIDR,
		24, 27, 28, 29, // regproc, tid, xid, cid
		600, 601, 602, 603, 604, 628, 718, // geometry
		774, 829, // macaddr8, macaddr
		1000, 1005, 1007, 1021, 1022, 1028, 1231, 1561, 1563, 2951, // arrays: bool, int2, int4, float4, float8, oid, numeric, bit, varbit, uuid
		1115, 1182, 1183, 1185, 1187, 1270, 1041, 651: // arrays: timestamp, date, time, timestamptz, interval, timetz, inet, cidr
		return false
	}
	return true
}

package harness

import "runtime"

// HeapInUse returns how many bytes of the heap are in use. It collects garbage
// twice, because the second run frees what finalizers of the first let go of.
func HeapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

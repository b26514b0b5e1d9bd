package harness

import "runtime"

// HeapInUse returns how many bytes of the heap are in use. It collects garbage
// twice, because the second collection frees the memory that finalizers of the first have released.
func HeapInUse() int64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

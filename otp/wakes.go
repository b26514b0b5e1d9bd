package otp

import "sync"

// Wakes lets watchers of a challenge wait for its next change. It is a part for
// stores: Store.Watch returns Wakes.Watch. The zero Wakes is ready. It is safe for
// concurrent use.
type Wakes struct {
	mu       sync.Mutex
	watchers map[ID][]chan struct{}
}

// Watch returns a channel that is closed at the next call of Wake for id, and a
// function that stops watching. The function may be called more than once.
func (w *Wakes) Watch(id ID) (<-chan struct{}, func()) {
	changed := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watchers == nil {
		w.watchers = make(map[ID][]chan struct{})
	}
	w.watchers[id] = append(w.watchers[id], changed)
	return changed, func() { w.remove(id, changed) }
}

// Wake closes the channels of all current watchers of id.
func (w *Wakes) Wake(id ID) {
	w.mu.Lock()
	woken := w.watchers[id]
	delete(w.watchers, id)
	w.mu.Unlock()
	for _, changed := range woken {
		close(changed)
	}
}

func (w *Wakes) remove(id ID, changed chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := w.watchers[id]
	for i, c := range list {
		if c == changed {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(w.watchers, id)
	} else {
		w.watchers[id] = list
	}
}

// Keeps the inbox up to date without a reload. The page works without it.
'use strict';

const list = document.getElementById('messages');
const announce = document.getElementById('announce');
const reload = document.getElementById('reload');
const choice = document.getElementById('next');
const kept = 1000; // the simulator keeps as many
let stream;

function show(event) {
	const { id, html, text } = JSON.parse(event.data);
	const template = document.createElement('template');
	template.innerHTML = html; // rendered, and escaped, by the server
	const fresh = template.content.querySelector('.message');
	const old = document.getElementById(id);
	if (old) {
		// Replace only the part that changes, because a person may be writing a reply.
		old.dataset.state = fresh.dataset.state;
		old.querySelector('.live').replaceWith(fresh.querySelector('.live'));
		return;
	}
	fresh.classList.add('new');
	list.prepend(fresh);
	while (list.children.length > kept) {
		list.lastElementChild.remove();
	}
	announce.textContent = text;
}

function listen() {
	stream = new EventSource('events?since=' + encodeURIComponent(list.dataset.since));
	stream.addEventListener('open', () => { reload.textContent = 'Live'; reload.className = 'live-now'; });
	stream.addEventListener('error', () => { reload.textContent = 'Reload'; reload.className = ''; });
	stream.addEventListener('message', show);
	stream.addEventListener('delivery', (event) => { choice.value = event.data; });
	stream.addEventListener('reload', () => location.reload());
}

// An open stream would keep the page out of the browser's back-forward cache.
addEventListener('pagehide', () => stream.close());
addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
listen();

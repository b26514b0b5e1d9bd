// What the pages can do better with JavaScript. Nothing here is needed: without
// it the forms post and the pages say the same things once.
(() => {
	"use strict";

	const main = document.querySelector("main");

	// A form that was not taken is answered with a page, and reloading that page,
	// as a phone does when it comes back from the messages to a tab it had put
	// away, would post the form again. Under its own address it is only read.
	if (main.dataset.url) history.replaceState(null, "", main.dataset.url);

	// A second press does not submit twice. The buttons come back after a while,
	// in case the first was stopped or got lost.
	const buttons = document.querySelectorAll("button");
	let busy = 0;
	const setBusy = (on) => {
		clearTimeout(busy);
		busy = on ? setTimeout(setBusy, 10_000, false) : 0;
		for (const b of buttons) {
			if (on) b.setAttribute("aria-disabled", "true");
			else b.removeAttribute("aria-disabled");
		}
	};
	document.addEventListener("submit", (event) => {
		if (busy) event.preventDefault();
		else setBusy(true);
	});
	addEventListener("pageshow", (event) => {
		if (event.persisted) setBusy(false);
	});

	const code = document.getElementById("code");
	if (!code) return;

	// Digits only, so that a code pasted as "482 174" passes the pattern. From a
	// whole message the first number of the right length is taken.
	const length = Number(code.dataset.length);
	code.addEventListener("paste", (event) => {
		const text = event.clipboardData?.getData("text") ?? "";
		const digits = text.replace(/\D/g, "");
		const found = digits.length === length ? digits : text.match(/\d+/g)?.find((run) => run.length === length);
		if (!found) return;
		event.preventDefault();
		code.value = found;
	});
	code.addEventListener("input", (event) => {
		if (!event.isComposing && /\D/.test(code.value)) code.value = code.value.replace(/\D/g, "");
	});

	// WebOTP: the browser offers the code of the SMS and the user agrees, which is
	// why the form may then go off on its own. Typing never submits it.
	let otp;
	const receive = async () => {
		otp = new AbortController();
		try {
			const credential = await navigator.credentials?.get({ otp: { transport: ["sms"] }, signal: otp.signal });
			if (!credential?.code) return;
			code.value = credential.code;
			code.form.requestSubmit();
		} catch {
			// Declined, aborted or not to be had here: the user types the code.
		}
	};
	document.addEventListener("submit", () => otp.abort());

	// The server's clock, by what has passed since it wrote the page. The one
	// source stands still while a phone sleeps, the other jumps when it is set.
	const clock = code.form.dataset;
	const monotonic = performance.now();
	const wall = Date.now();
	const now = () => Number(clock.now) + Math.max(performance.now() - monotonic, Date.now() - wall);
	let expires = Number(clock.expires);
	let resend = Number(clock.resend);

	const amount = (ms) => {
		const s = Math.ceil(ms / 1000);
		const [n, unit] =
			s > 36 * 3600 ? [s / 86400, "day"] : s > 90 * 60 ? [s / 3600, "hour"] : s > 90 ? [s / 60, "minute"] : [s, "second"];
		return new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" }).format(Math.ceil(n));
	};
	// Writes only what is new, so that a screen reader is told once.
	const write = (element, text) => {
		if (element && element.textContent !== text) element.textContent = text;
	};

	const delivery = document.getElementById("delivery");
	const say = (state) => {
		if (!(state in delivery.dataset)) return;
		delivery.dataset.state = state;
		write(delivery, delivery.dataset[state]);
	};

	const life = document.getElementById("life");
	const again = document.getElementById("resend");
	const wait = document.getElementById("wait");
	const other = document.getElementById("other");
	let ticking;
	const tick = () => {
		const t = now();
		if (t >= expires) {
			stop();
			say("expired");
			write(life, "");
			again.hidden = true;
			write(other, other.dataset.expired);
			other.className = "renew";
			return;
		}
		write(life, life?.dataset.live.replace("{}", amount(expires - t)));
		again.querySelector("button").disabled = t < resend;
		write(wait, t < resend ? wait.dataset.live.replace("{}", amount(resend - t)) : wait.dataset.ready);
	};

	let stream;
	const follow = () => {
		if (["delivered", "expired"].includes(delivery.dataset.state)) return;
		stream = new EventSource(clock.events);
		stream.onmessage = (event) => {
			let challenge;
			try {
				challenge = JSON.parse(event.data);
			} catch {
				return;
			}
			expires = Date.parse(challenge.expires_at) || expires;
			resend = Date.parse(challenge.resend_at) || resend;
			say(challenge.status);
			if (challenge.status === "delivered") stream.close();
			tick();
		};
		// After an answer that is no stream the browser gives up by itself, after a
		// lost connection it tries again: neither needs help.
	};

	const start = () => {
		receive();
		follow();
		ticking = setInterval(tick, 500);
		tick();
	};
	const stop = () => {
		clearInterval(ticking);
		stream?.close();
	};
	addEventListener("pagehide", () => {
		stop();
		otp.abort();
	});
	addEventListener("pageshow", (event) => {
		if (event.persisted) start();
	});
	start();
})();

// This script improves the pages. They also work without it: the forms post, and
// the pages show the same texts, without updates.
(() => {
	"use strict";

	const main = document.querySelector("main");

	// The answer to a refused form is a page, and reloading that page would post
	// the form again. A phone reloads it when the user comes back from the messages
	// to an unloaded tab. So the page takes the address that GET reads.
	if (main.dataset.url) history.replaceState(null, "", main.dataset.url + location.hash);

	// No server sees the fragment of an address, but the browser keeps it when the
	// gate redirects to this page. The forms and links take it along, so that the
	// login ends at the same place of the application.
	const whole = (rd) => (rd.includes("#") ? rd : rd + location.hash);
	for (const rd of document.querySelectorAll("input[name=rd]")) rd.value = whole(rd.value);
	for (const link of document.querySelectorAll("main a[href*='?rd=']:not([target])")) {
		const to = new URL(link.href);
		to.searchParams.set("rd", whole(to.searchParams.get("rd")));
		link.href = to.href;
	}

	// A second press does not submit twice. The buttons work again after 5 s, in
	// case the user stopped the first submit or it got lost. The gate takes the same
	// code again for 10 s.
	const buttons = document.querySelectorAll("button");
	let busy = 0;
	const setBusy = (on) => {
		clearTimeout(busy);
		busy = on ? setTimeout(setBusy, 5_000, false) : 0;
		for (const b of buttons) {
			if (on) b.setAttribute("aria-disabled", "true");
			else b.removeAttribute("aria-disabled");
		}
	};
	document.addEventListener("submit", (event) => {
		if (busy) return event.preventDefault();
		setBusy(true);
		// The browser sent no cookie. If the user has allowed cookies since this page
		// opened, the login page sets one, and this press sends the code.
		if (!("probe" in event.target.dataset)) return;
		event.preventDefault();
		fetch(main.dataset.url, { headers: { Accept: "text/html" }, redirect: "manual" })
			.catch(() => {})
			.then(() => event.target.submit());
	});
	addEventListener("pageshow", (event) => {
		if (event.persisted) setBusy(false);
	});

	// In a frame of the application, the link opens the login page in the whole window.
	// The gate knows only the page whose link was followed, perhaps a menu in another
	// frame. If the window is of this origin, the login leads back to the whole of it.
	const out = document.querySelector("a[target=_top]");
	if (out) {
		try {
			const { pathname, search, hash } = top.location;
			const login = new URL(out.href);
			login.searchParams.set("rd", pathname + search + hash);
			out.href = login.href;
		} catch {
			// The window is of another origin: the link stays as it is.
		}
	}

	const code = document.getElementById("code");
	if (!code) return;

	// The field keeps digits only, as the gate reads them: the decimal digits of any
	// script. In Unicode, the digits of a script follow each other from 0 to 9.
	const least = Number(code.dataset.least);
	const most = Number(code.dataset.most);
	const digit = /\p{Nd}/u;
	const ascii = (char) => {
		let below = 0;
		while (digit.test(String.fromCodePoint(char.codePointAt(0) - below - 1))) below++;
		return String(below % 10);
	};
	const digits = (text) => [...text].filter((char) => digit.test(char)).map(ascii).join("");
	const complete = (found) => least <= found.length && found.length <= most;
	// Some phones fill in the code twice.
	const once = (found) => {
		const half = found.slice(0, found.length / 2);
		return found.length > most && found === half + half ? half : found;
	};
	// If the user pastes a whole message, the field takes the first number of the right
	// length.
	code.addEventListener("paste", (event) => {
		const text = event.clipboardData?.getData("text") ?? "";
		const all = once(digits(text));
		const found = complete(all) ? all : text.match(/\p{Nd}+/gu)?.map(digits).find(complete);
		if (!found) return;
		event.preventDefault();
		code.value = found;
	});
	code.addEventListener("input", (event) => {
		if (event.isComposing) return;
		const found = once(digits(code.value));
		if (found !== code.value) code.value = found;
	});

	// WebOTP: the browser offers the code of the SMS. When the user agrees, the
	// script submits the form. Typing never submits it.
	let otp;
	const receive = async () => {
		otp = new AbortController();
		try {
			const credential = await navigator.credentials?.get({ otp: { transport: ["sms"] }, signal: otp.signal });
			if (!credential?.code) return;
			code.value = once(digits(credential.code));
			code.form.requestSubmit();
		} catch {
			// The user declined, the request was aborted, or the browser has no
			// WebOTP: the user types the code.
		}
	};
	document.addEventListener("submit", () => otp.abort());

	// now estimates the server's clock: the time of the page plus the time since
	// then. performance.now() may stop while a phone sleeps, and Date.now() jumps
	// when the user sets the clock. The larger of the two differences counts.
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
	// write changes the text only if it is new, so that a screen reader reads it once.
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
	const limit = document.getElementById("limit");
	const wait = document.getElementById("wait");
	const other = document.getElementById("other");
	let ticking;
	const tick = () => {
		const t = now();
		if (t >= expires) {
			stop();
			say("expired");
			write(life, "");
			again.hidden = limit.hidden = true;
			write(other, other.dataset.expired);
			other.className = "renew";
			return;
		}
		write(life, life?.dataset.live.replace("{}", amount(expires - t)));
		// No button is offered that a limit would refuse until the code has expired.
		const late = resend >= expires;
		again.hidden = late;
		limit.hidden = !late;
		write(limit, late ? limit.dataset.live.replace("{}", amount(resend - t)) : "");
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
		// Errors need no code here. The browser gives up by itself if the answer is
		// no stream, and connects again if the connection is lost.
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

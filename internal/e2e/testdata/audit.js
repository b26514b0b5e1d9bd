// Evaluates to what is wrong with the page for those who see little or nothing
// of it, as a list of sentences. Numbers in brackets are criteria of WCAG 2.2.
(() => {
	const found = [];
	const name = (e) => `<${e.tagName.toLowerCase()}${e.id ? " id=" + e.id : ""}${e.className ? " class=" + e.className : ""}>`;
	const all = (css) => [...document.querySelectorAll(css)];
	const shown = (e) => e.checkVisibility({ visibilityProperty: true, opacityProperty: true });

	// Language, title, headings (3.1.1, 2.4.2, 1.3.1).
	if (!document.documentElement.lang) found.push("the page names no language");
	if (!document.title) found.push("the page has no title");
	const levels = all("h1, h2, h3, h4").filter(shown).map((h) => Number(h.tagName[1]));
	if (levels.filter((level) => level === 1).length !== 1 || levels[0] !== 1) found.push(`the headings are of the levels ${levels}`);
	levels.forEach((level, i) => { if (level > (levels[i - 1] ?? 1) + 1) found.push(`a level ${level} heading skips a level`); });

	// References (1.3.1, 4.1.2).
	const ids = all("[id]").map((e) => e.id);
	ids.forEach((id, i) => { if (ids.indexOf(id) !== i) found.push(`the id ${id} is there twice`); });
	for (const attribute of ["aria-describedby", "aria-labelledby", "for"]) {
		for (const e of all(`[${attribute}]`)) {
			for (const id of e.getAttribute(attribute).split(/\s+/)) {
				if (!document.getElementById(id)) found.push(`${attribute} of ${name(e)} leads to ${id}, which is not there`);
			}
		}
	}

	// A label for each field, words for each image, no order of one's own (1.3.1, 3.3.2, 1.1.1, 2.4.3).
	for (const e of all("input:not([type=hidden]), select, textarea")) {
		if (!e.labels.length && !e.hasAttribute("aria-labelledby")) found.push(`${name(e)} has no label`);
	}
	for (const e of all("img:not([alt])")) found.push(`${name(e)} has no words`);
	for (const e of all("[tabindex]")) if (e.tabIndex > 0) found.push(`${name(e)} is out of the order of tabs`);

	// Colours. A shade may be translucent; what is below shows through it.
	const parse = (text) => {
		const m = /^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/.exec(text);
		if (!m) { found.push(`the colour ${text} cannot be read`); return [0, 0, 0, 1]; }
		return [m[1], m[2], m[3], m[4] ?? 1].map(Number);
	};
	const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
	const probe = document.body.appendChild(document.createElement("div"));
	probe.style.backgroundColor = "Canvas";
	const canvas = parse(getComputedStyle(probe).backgroundColor);
	probe.remove();

	// All colours that an element may stand on: one, or the ends of a gradient.
	const grounds = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) {
			const style = getComputedStyle(e);
			const gradient = style.backgroundImage.match(/rgba?\([^)]*\)/g);
			const shades = (gradient ?? [style.backgroundColor]).map(parse);
			layers.unshift(shades);
			if (shades.every((shade) => shade[3] === 1)) break;
		}
		return layers.reduce((below, shades) => below.flatMap((b) => shades.map((shade) => over(shade, b))), [canvas]);
	};
	const luminance = ([r, g, b]) => {
		const linear = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
		return 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
	};
	const contrast = (a, b) => {
		const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
		return (high + 0.05) / (low + 0.05);
	};

	// 4.5:1 for all text, also for large text, where less would do (1.4.3).
	const texts = new Set(all("input:not([type=hidden], [type=checkbox]), select, textarea"));
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) if (walker.currentNode.data.trim()) texts.add(walker.currentNode.parentElement);
	let measured = 0;
	for (const e of texts) {
		if (!shown(e) || e.tagName === "OPTION") continue;
		const colours = [getComputedStyle(e).color];
		if (e.placeholder) colours.push(getComputedStyle(e, "::placeholder").color);
		for (const ground of grounds(e)) {
			for (const colour of colours) {
				const got = contrast(over(parse(colour), ground), ground);
				if (got < 4.5) found.push(`${name(e)} has ${colour} on rgb(${ground.slice(0, 3)}), ${got.toFixed(2)}:1`);
				measured++;
			}
		}
	}
	if (measured < 3) found.push(`only ${measured} texts were measured`);
	return [...new Set(found)];
})()

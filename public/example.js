// A chat page in a few lines. To use it on another site: example.html?server=http://127.0.0.1:12345
import { Fanfare } from './fanfare.js';

const query = new URLSearchParams(location.search);
const fanfare = new Fanfare(query.get('server') ?? undefined, { storage: () => localStorage });
const room = fanfare.room(query.get('room') ?? 'lobby', { after: 0 });
const [form, list, output] = ['form', 'ol', 'output'].map((name) => document.querySelector(name));
const add = (text) => list.appendChild(document.createElement('li')).append(text);

room.on('message', ({ from, text, json }) => add(`${from}: ${text ?? JSON.stringify(json) ?? '(bytes)'}`));
room.on('gap', ({ count }) => add(`${count ?? 'some'} messages are gone`));
fanfare.on('status', ({ status }) => (output.value = status));
form.addEventListener('submit', (event) => {
  event.preventDefault();
  room.send(form.elements.text.value);
  form.reset();
});

// The README.md of an exported policy: what the model is and where it came from, in the hub's form (YAML, then text).

/** What a card tells; the parts of training are absent for a plain model folder. */
export interface CardFacts {
  readonly format: 'hf' | 'onnx';
  readonly policyRoot: string;
  readonly parameters: number;
  readonly training?: {
    readonly recipeName: string;
    readonly recipeId: string;
    readonly description: string;
    readonly policyStep: number;
    readonly initialPolicyRoot: string;
  };
  /** hub id of the model that training started from */
  readonly base?: string;
}

const USE = {
  hf: `\`\`\`python
from transformers import pipeline
pipeline("text-generation", model=".")("…")
\`\`\`

It loads in Murmuration too: \`murmur eval --model .\`, \`murmur train --model .\`.`,
  onnx: `\`\`\`js
import { env, pipeline } from '@huggingface/transformers';
env.localModelPath = '..'; // the folder that this one lies in
const generate = await pipeline('text-generation', 'NAME-OF-THIS-FOLDER');
\`\`\``,
} as const;

function frontMatter({ format, base }: CardFacts): string {
  return [
    '---',
    `library_name: ${format === 'hf' ? 'transformers' : 'transformers.js'}`,
    'pipeline_tag: text-generation',
    'tags: [murmuration, reinforcement-learning]',
    ...(base === undefined ? [] : [`base_model: ${JSON.stringify(base)}`]),
    '---',
  ].join('\n');
}

/** One line of text, safe inside a table: what others wrote is shown, not formatted. */
function plain(text: string): string {
  const oneLine = text.replace(/\s+/g, ' ').trim();
  return oneLine.replace(/[&|`<>[\]*_~#]/g, (mark) => `&#${mark.codePointAt(0)};`);
}

/** The text of README.md. */
export function modelCard(facts: CardFacts): string {
  const { training, policyRoot, parameters, format } = facts;
  const rows: readonly (readonly [string, string])[] = [
    ['policy root', `\`${policyRoot}\``],
    ['parameters', String(parameters)],
    ...(training === undefined
      ? []
      : ([
          ['recipe', `${plain(training.recipeName)} (\`${training.recipeId}\`)`],
          ['policy step', String(training.policyStep)],
          [
            'started from',
            `${facts.base === undefined ? '' : `${plain(facts.base)}, `}\`${training.initialPolicyRoot}\``,
          ],
        ] as const)),
  ];
  const about = training === undefined ? '' : plain(training.description);
  return [
    frontMatter(facts),
    '',
    `# ${training === undefined ? 'A policy' : `${plain(training.recipeName)}, policy step ${training.policyStep}`}`,
    '',
    `${training === undefined ? 'Exported' : 'Trained with reinforcement learning by a swarm, and exported'} by Murmuration.${about === '' ? '' : ` ${about}`}`,
    '',
    '| | |',
    '|---|---|',
    ...rows.map(([name, value]) => `| ${name} | ${value} |`),
    '',
    'The policy root is the hash of the bf16 weights: equal roots, equal policies.',
    '',
    USE[format],
    '',
  ].join('\n');
}

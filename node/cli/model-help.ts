// What commands say about `--model`; what it does is in model-folder.ts, which loads more than --help needs.

export const MODEL_OPTION = 'the model to start from (default: the one that the recipe names, else the starter)';

export const MODEL_HELP = `A model is a folder in Hugging Face form, or a hub id: owner/name or
owner/name@revision. That is downloaded into the cache that Hugging Face's own
tools use (HF_HOME, HF_HUB_CACHE); HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE=1
mean what they mean there. A hub id in a recipe is never downloaded by itself.`;
